# The training image: the user's locked requirements, headway's container side, and nothing that changes with their code.
# Its name is the digest of what it is made of, so it is built once. Plain Dockerfile syntax: any builder can build it.
#
# The build context holds  requirements.txt          the user's lockfile
#                          runtime-requirements.txt  what headway.runtime imports
#                          wheelhouse/               wheels, or only a .keep file
#                          runtime/                  the package headway and its dist-info
#
# Pip reaches an index through the standard proxy build arguments only. An index that asks for a password
# is met with a wheelhouse: no credential can then be in a layer.
ARG BASE=python:3.11-slim

FROM ${BASE} AS builder
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.txt runtime-requirements.txt ./
COPY wheelhouse/ wheelhouse/
# One resolve for both files: a conflict stops the build here, not the job later.
# The code is compiled here, on all cores, because the user `trainer` cannot write beside it.
RUN set -e; \
    if ls wheelhouse/*.whl >/dev/null 2>&1; then from="--no-index --find-links=wheelhouse"; else from=""; fi; \
    pip install --no-compile $from -r requirements.txt -r runtime-requirements.txt; \
    python3 -c "import sysconfig; print(sysconfig.get_path('purelib'))" > site; \
    echo /opt/headway > "$(cat site)/headway.pth"; \
    python3 -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$(cat site)" || true

FROM ${BASE}
# /var/hypertune is where Vertex AI reads the metric of a sweep's trial, which the user `trainer` writes.
RUN useradd --uid 1000 --create-home --shell /bin/bash trainer \
    && install -d -o trainer -g trainer /var/hypertune
COPY --from=builder /opt/venv /opt/venv
COPY runtime/ /opt/headway/
ENV PATH=/opt/venv/bin:$PATH:/usr/local/nvidia/bin PYTHONUNBUFFERED=1 GIT_PYTHON_REFRESH=quiet
# Where Google's GPU hosts put the driver, and what NVIDIA's container runtime asks for; nothing without a GPU.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64${LD_LIBRARY_PATH:+:}${LD_LIBRARY_PATH} \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/headway
USER trainer
WORKDIR /home/trainer
ENTRYPOINT []
CMD ["python3", "-m", "headway.runtime"]
