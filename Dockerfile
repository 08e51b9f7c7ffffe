# The service in a container, for CPU or GPU, with the trained models inside:
#   docker build --target serve --tag tabular-model-server:cpu .                        two minutes, 1.8 GB
#   docker build --target serve --build-arg DEVICE=gpu --tag tabular-model-server:gpu .     6.7 GB
#   docker build --target train --tag tabular-model-server:train .                      with training/, for retraining
#   docker run --rm --publish 127.0.0.1:8000:8000 tabular-model-server:cpu
# Without --target it is `serve`; a builder older than BuildKit makes the `train` stage on its way there.

ARG BASE=python:3.11-slim-bookworm


FROM ${BASE} AS builder
ARG DEVICE=cpu
# `pip` is the base image's in every stage: the environment that is served has none.
RUN python3 -m venv --without-pip /opt/venv
COPY requirements/serve-${DEVICE}.txt /tmp/
# Dropped: C++ headers (for compiling TensorFlow operations) and pandas' own tests; nothing imports either.
RUN pip --python /opt/venv/bin/python3 install \
        --no-cache-dir --no-deps --require-hashes --requirement /tmp/serve-${DEVICE}.txt \
    && rm -r /opt/venv/lib/python3*/site-packages/tensorflow/include \
             /opt/venv/lib/python3*/site-packages/pandas/tests


FROM ${BASE} AS runtime
# A number that a volume's files can be given to: the same in every image.
RUN groupadd --gid 10001 server \
    && useradd --uid 10001 --gid server --no-create-home --home-dir /tmp --shell /usr/sbin/nologin server
COPY --from=builder /opt/venv /opt/venv
ARG DEVICE=cpu
# HOME is for the caches of CUDA and matplotlib: the only place that is writable in docker-compose.yml.
ENV PATH=/opt/venv/bin:${PATH} \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DEVICE=${DEVICE}
WORKDIR /app


FROM runtime AS serve
COPY service service
# Compiled here, since nothing can be written later; readable even from a clone made with umask 077.
RUN python3 -m compileall -q service && chmod -R a=rX service
# Owned by the server, so that a volume which starts as a copy of this folder can be trained into.
COPY --chown=10001:10001 artifacts artifacts
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tabular-model-server" \
      org.opencontainers.image.description="Small tabular models: TensorFlow SavedModels behind a validated REST API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# And no PORT: it would outrank those that Vertex AI and SageMaker name.
ENV HOST=0.0.0.0
EXPOSE 8000
USER 10001:10001
STOPSIGNAL SIGTERM
# Health needs no key, and a certificate that names another host than this one does for it.
# The reasons of a 503 are in `docker inspect`. http.client: a proxy in the environment must not be asked for 127.0.0.1.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["python3", "-c", "\
import http.client, os, ssl, sys; \
tls = os.environ.get('TLS_CERTIFICATE') and {'context': ssl._create_unverified_context()}; \
connection = http.client.HTTPSConnection if tls else http.client.HTTPConnection; \
port = next(filter(None, map(os.environ.get, ('PORT', 'AIP_HTTP_PORT', 'SAGEMAKER_BIND_TO_PORT'))), None); \
service = connection('127.0.0.1', int(port or 8000), timeout=4, **(tls or {})); \
service.request('GET', '/health/ready'); \
answer = service.getresponse(); \
print(answer.read().decode()); \
sys.exit(answer.status != 200)"]
ENTRYPOINT ["python3", "-m", "service"]


FROM runtime AS train
ARG DEVICE=cpu
COPY requirements/train-${DEVICE}.txt /tmp/
RUN pip --python /opt/venv/bin/python3 install \
        --no-cache-dir --no-deps --require-hashes --requirement /tmp/train-${DEVICE}.txt
COPY service service
COPY training training
RUN python3 -m compileall -q service training && chmod -R a=rX service training
COPY --chown=10001:10001 artifacts artifacts
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tabular-model-server-train" \
      org.opencontainers.image.description="Trains the models of tabular-model-server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# What the manifests of trained versions name as their code: there is no git in here.
ENV REVISION=${REVISION}
USER 10001:10001
CMD ["sh", "-euxc", "for model in and_gate survival wine; do python3 -m training.$model; done"]


# The last stage is what `docker build .` makes.
FROM serve
