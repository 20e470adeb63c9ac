# The image of backrest-sidecar: the base, one directory of pinned packages, one launcher. No compiler, no pip.
# Built with BuildKit and with the older builder alike. BASE is any Linux image with Python 3.11 or newer,
# its venv module and a shell.
ARG BASE=python:3.12-slim

FROM ${BASE} AS builder
# Settings of pip for hosts behind a proxy or a mirror: --build-arg PIP_CERT=/path/of/the/base/ca-bundle.pem
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock ./
RUN python3 -m venv pip \
    && pip/bin/pip install --quiet --only-binary :all: --require-hashes --no-compile \
        --target /opt/backrest-sidecar -r requirements.lock \
    && rm -rf /opt/backrest-sidecar/bin
COPY sidecar /opt/backrest-sidecar/sidecar
COPY workers /opt/backrest-sidecar/workers
COPY LICENSE /opt/backrest-sidecar/LICENSE
# -I -S: nothing of the environment, the working directory or the base's site-packages joins what runs as root.
# unchecked-hash: the files of an image never change, so no start has to look whether they did.
RUN printf '#!/bin/sh\nexec python3 -ISBu /opt/backrest-sidecar "$@"\n' > backrest-sidecar \
    && printf 'import sys\n\nfrom sidecar.__main__ import main\n\nsys.exit(main())\n' > /opt/backrest-sidecar/__main__.py \
    && find /opt/backrest-sidecar -depth -type d \( -name __pycache__ -o -name tests \) -exec rm -rf {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/backrest-sidecar \
    && chmod -R a+rX /opt/backrest-sidecar && chmod 755 backrest-sidecar

FROM ${BASE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="backrest-sidecar" \
      org.opencontainers.image.description="Backup plans for Backrest, written as labels on your containers" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
# pip and its like of the base are hidden: nothing is ever installed into a running sidecar.
RUN python3 -c "import glob, shutil, sys; \
    [shutil.rmtree(found, ignore_errors=True) for top in [*sys.path[1:], '/usr/share'] if top \
     for name in ('pip', 'pip-*', 'setuptools', 'setuptools-*', 'wheel', 'wheel-*', 'ensurepip', 'python-wheels') \
     for found in glob.glob(f'{top}/{name}')]" \
    && rm -f /usr/local/bin/pip* /usr/bin/pip*
COPY --from=builder /build/backrest-sidecar /usr/local/bin/backrest-sidecar
COPY --from=builder /opt/backrest-sidecar /opt/backrest-sidecar
ENV HOME=/tmp BACKREST_CONFIG=/etc/backrest/config.json
# Root, for the Docker socket. Any other uid works with the socket's group: --user 1000 --group-add <gid>.
WORKDIR /
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["backrest-sidecar", "healthcheck"]
ENTRYPOINT ["backrest-sidecar"]
CMD ["daemon", "--config", "/etc/backrest/config.json", "--with-events", "--apply"]
