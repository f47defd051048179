# unigrpo on CPUs: to try it, to test your own rewards and data, and to train small policies.
#
#     docker build -f install/cpu.Dockerfile -t unigrpo:cpu .
#     docker run --rm --shm-size 2g -v "$PWD:/work" unigrpo:cpu train --recipe tiny
#
# This file was never built: only a linter read it (make lint-docker).
FROM python:3.11-slim-bookworm

# A compiler: one package is built from source, and torch.compile needs one too.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*

# torch comes first: DeepSpeed's source package looks for it while it builds.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
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

ENV HF_HUB_DISABLE_TELEMETRY=1 MLFLOW_DISABLE_TELEMETRY=true RAY_USAGE_STATS_ENABLED=0
RUN useradd --create-home --uid 1000 unigrpo
USER 1000
WORKDIR /work
ENTRYPOINT ["unigrpo"]
CMD ["--help"]
