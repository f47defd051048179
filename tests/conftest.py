"""Before any test file is imported."""

import os

# Triton reads it when it is imported, which torch.compile does too: kernels run in its interpreter, without a GPU.
os.environ["TRITON_INTERPRET"] = "1"
