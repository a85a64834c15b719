# docker build --tag banditd .
# docker run --read-only --tmpfs /tmp --volume banditd:/var/lib/banditd --publish 127.0.0.1:8080:8080 \
#     --env BANDITD_SERVER_KEYS='["a key of at least 32 characters"]' banditd
#
# The server listens on all of the container's addresses, so it refuses to start without a key.
# tests/e2e/test_container.py carries out every step of this file.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /src
# The locked dependencies first: they change less often than the code, so their layer is kept.
COPY requirements/build.txt requirements/run.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --no-deps --only-binary :all: --requirement requirements/build.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes --no-deps --only-binary :all: --requirement requirements/run.txt
COPY LICENSE README.md pyproject.toml ./
COPY policies policies
COPY replay replay
COPY banditd banditd
# What runs has no pip: nothing is installed after this.
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /opt/dist . \
    && /opt/venv/bin/pip install --no-index --no-deps /opt/dist/*.whl \
    && /opt/venv/bin/pip check \
    && /opt/venv/bin/pip uninstall --yes pip setuptools \
    && python -m compileall -q /opt/venv/lib

FROM python:3.11-slim
COPY --from=build /opt/venv /opt/venv
# Numeric, so that Kubernetes can see that it is not root (runAsNonRoot).
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/banditd
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENV BANDITD_SERVER_HOST=0.0.0.0 BANDITD_STORE_URL=sqlite:/var/lib/banditd/banditd.db
VOLUME /var/lib/banditd
WORKDIR /var/lib/banditd
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('BANDITD_SERVER_PORT', '8080')), timeout=2); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["banditd", "serve"]
