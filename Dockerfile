# The images of Parley: one file, a target per service. `make images` builds them all.
#
#   docker build --target gateway --tag parley-gateway .
#
# Stages: `page` builds the page, `libraries` and `canary-libraries` install the locks, `code` lays out what each image
# holds; the targets only copy. Files in those layers are all of one time, and bytecode names none, so the same sources on
# the same base image give the same layers (docs/operations.md, "Images and compose"). Node comes from a lock as well: one
# base image, and one place where its version stands.

ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /build


FROM build AS page
# Node has a list of authorities of its own; a company's own authority is in the system's.
ENV PATH=/opt/node/bin:${PATH} NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
COPY requirements/node.txt ./
RUN python -m venv /opt/node && /opt/node/bin/pip install --require-hashes --only-binary :all: -r node.txt
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run --silent build && mkdir -p /out/app/web && mv dist /out/app/web/dist
# Browsers ask whether what they have is of this time, so the page takes that of its commit; without it, that of its build.
ARG SOURCE_DATE_EPOCH
RUN find /out -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH:-$(date +%s)}" {} +


FROM build AS libraries
COPY requirements/run.txt ./
RUN python -m venv --without-pip /opt/parley \
 && pip --python /opt/parley/bin/python install --require-hashes --only-binary :all: --no-compile -r run.txt \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/parley/lib \
 && mkdir -p /out/opt && mv /opt/parley /out/opt/ \
 && find /out -exec touch --no-dereference --date @0 {} +


# What the canary needs besides, as a layer over the same libraries.
FROM build AS canary-libraries
ARG PYTHON_VERSION
COPY requirements/canary.txt ./
RUN pip install --require-hashes --only-binary :all: --no-compile --no-deps -r canary.txt \
      --target "/out/opt/parley/lib/python${PYTHON_VERSION}/site-packages" \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /out -p / /out/opt/parley/lib \
 && find /out -exec touch --no-dereference --date @0 {} +


FROM build AS code
COPY . ./
# Each service with what it stands on, and nothing of the others.
RUN set -eu; \
    lay() { mkdir -p "/out/$1/app"; service=$1; shift; cp -r LICENSE protocol chassis deploy "$@" "/out/$service/app/"; }; \
    lay gateway gateway; \
    lay auth auth_service; \
    lay chat chat_service; \
    lay canary canary; \
    lay nats-exporter observability; \
    find /out -name '*.py' -path '*/app/deploy/*' ! -path '*/deploy/__init__.py' ! -name probe.py \
      ! -path '/out/chat/*/deploy/backup/*' ! -path '/out/chat/*/deploy/jetstream.py' ! -path '/out/chat/*/deploy/streams.py' \
      -delete; \
    find /out -path '*/app/deploy/backup' -empty -delete; \
    for service in gateway auth chat canary nats-exporter; do \
      python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "/out/$service" -p / "/out/$service/app"; \
    done; \
    chmod -R u=rwX,go=rX /out; \
    find /out -exec touch --no-dereference --date @0 {} +


# The base image without pip, without set-user-id programs, and with our user. Copied as a whole below: what is deleted in
# a layer over another is still there underneath, and the deletion carries the time of the build.
FROM python:${PYTHON_VERSION}-slim AS base
ARG PYTHON_VERSION
RUN set -eu; \
    touch /tmp/began; \
    rm -rf "/usr/local/lib/python${PYTHON_VERSION}/ensurepip" "/usr/local/lib/python${PYTHON_VERSION}/site-packages"/* \
      /usr/local/bin/pip* /usr/local/bin/idle*; \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +; \
    echo 'parley:x:10001:10001:Parley:/tmp:/usr/sbin/nologin' >> /etc/passwd; \
    echo 'parley:x:10001:' >> /etc/group; \
    mkdir /app /data; chown 10001:10001 /data; \
    find / -xdev -newer /tmp/began -exec touch --no-dereference --date @0 {} +; \
    rm /tmp/began; touch --date @0 /tmp


# What every service runs in: the system and Python, then the libraries, each a layer that all images share.
FROM scratch AS runtime
# hadolint ignore=DL3067
COPY --from=base / /
COPY --from=libraries /out/ /
ENV PATH=/opt/parley/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    BIND_HOST=0.0.0.0 \
    DATA_DIR=/data
WORKDIR /app
USER 10001:10001
STOPSIGNAL SIGTERM
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.vendor="Parley"


FROM runtime AS gateway
COPY --from=code /out/gateway/ /
COPY --from=page /out/ /
ENV WEB_DIR=/app/web/dist \
    GATEWAY_PORT=8000 GATEWAY_INTERNAL_PORT=9000 GATEWAY_WORKERS=1 \
    GATEWAY_DRAIN_DELAY_SECONDS=5 GATEWAY_DRAIN_SECONDS=30
EXPOSE 8000 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "deploy.probe", "http://127.0.0.1:9000/health/live"]
LABEL org.opencontainers.image.title="parley-gateway" \
      org.opencontainers.image.description="Holds the sockets, and serves the page"
CMD ["python", "-m", "gateway"]


FROM runtime AS auth
COPY --from=code /out/auth/ /
ENV AUTH_PORT=8001 AUTH_INTERNAL_PORT=9001
EXPOSE 8001 9001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "deploy.probe", "http://127.0.0.1:9001/health/live"]
LABEL org.opencontainers.image.title="parley-auth" \
      org.opencontainers.image.description="Knows who somebody is: accounts, sessions, tokens"
CMD ["python", "-m", "auth_service"]


FROM runtime AS chat
COPY --from=code /out/chat/ /
ENV CHAT_PORT=8002
EXPOSE 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "deploy.probe", "http://127.0.0.1:8002/health/live"]
LABEL org.opencontainers.image.title="parley-chat" \
      org.opencontainers.image.description="Decides what was said: the only writer of the room logs"
CMD ["python", "-m", "chat_service"]


FROM runtime AS canary
COPY --from=canary-libraries /out/ /
COPY --from=code /out/canary/ /
ENV CANARY_PORT=8003
EXPOSE 8003
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "deploy.probe", "http://127.0.0.1:8003/health/live"]
LABEL org.opencontainers.image.title="parley-canary" \
      org.opencontainers.image.description="Chats through the public address all day, and tells what it sees"
CMD ["python", "-m", "canary"]


FROM runtime AS nats-exporter
COPY --from=code /out/nats-exporter/ /
ENV NATS_EXPORTER_PORT=7777
EXPOSE 7777
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "deploy.probe", "http://127.0.0.1:7777/health/live"]
LABEL org.opencontainers.image.title="parley-nats-exporter" \
      org.opencontainers.image.description="Shows Prometheus what nats-servers tell on their monitoring ports"
CMD ["python", "-m", "observability.nats_exporter"]
