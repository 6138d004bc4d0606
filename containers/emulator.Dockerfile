# The emulator as an image: the extra `emulator` of the package and nothing else. Built by containers/emulator.sh.
#
# The build context holds  requirements.txt  the extra, at pinned versions
#                          wheels/           the package's own wheel
#                          wheelhouse/       the others', or only a .keep file where the build reaches an index
ARG BASE=python:3.11-slim

FROM ${BASE} AS builder
LABEL headway.stage=emulator-builder
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.txt ./
COPY wheelhouse/ wheelhouse/
RUN set -e; \
    if ls wheelhouse/*.whl >/dev/null 2>&1; then from="--no-index --find-links=wheelhouse"; else from=""; fi; \
    pip install $from -r requirements.txt
COPY wheels/ wheels/
RUN pip install --no-index --no-deps wheels/*.whl

FROM ${BASE}
RUN useradd --uid 1000 --create-home emulator && mkdir /state && chown emulator /state
COPY --from=builder /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HEADWAY_EMULATOR_STATE=/state
USER emulator
WORKDIR /home/emulator
VOLUME /state
EXPOSE 8585
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["headway-emulator", "clock"]
ENTRYPOINT ["headway-emulator"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8585", "--executor", "process"]
