# unigrpo on NVIDIA GPUs.
#
#     docker build -f install/cuda.Dockerfile -t unigrpo:cuda .
#     docker run --rm --gpus all --shm-size 16g -v "$PWD:/work" unigrpo:cuda doctor
#
# This file was never built, and no GPU has run it: only a linter read it (make lint-docker).
#
# The image needs no CUDA of its own: torch's wheels bring the libraries, and the host brings the driver (NVIDIA's container
# toolkit). There is no nvcc in it, so DeepSpeed compiles no kernels; training uses none of them.
FROM python:3.11-slim-bookworm

# A compiler: one package is built from source, and Triton's launcher and torch.compile need one too.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*

# torch comes first: DeepSpeed's source package looks for it while it builds. For a driver that is older than the CUDA of
# PyPI's wheels: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126
ARG TORCH_INDEX=https://pypi.org/simple
WORKDIR /opt/unigrpo
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt setuptools wheel numpy \
    && pip install --no-cache-dir --constraint constraints.txt --index-url "${TORCH_INDEX}" torch torchvision

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY rl ./rl
COPY rewards ./rewards
COPY policies ./policies
COPY cluster ./cluster
RUN DS_BUILD_OPS=0 pip install --no-cache-dir --no-build-isolation --constraint constraints.txt ".[tiny]"

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV HF_HUB_DISABLE_TELEMETRY=1 MLFLOW_DISABLE_TELEMETRY=true RAY_USAGE_STATS_ENABLED=0
RUN useradd --create-home --uid 1000 unigrpo
USER 1000
WORKDIR /work
ENTRYPOINT ["unigrpo"]
CMD ["--help"]
