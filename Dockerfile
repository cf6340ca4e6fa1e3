# The server, without PyTorch. In a repository where `dvc repro` or `dvc pull` has run:
#   docker build --tag marketplace .
#   docker run --rm --user "$(id -u)" --publish 127.0.0.1:8000:8000 --volume "$PWD":/repository marketplace
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS development

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git=1:2.39.* make=4.3-* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 marketplace
USER 1000

FROM development AS server

WORKDIR /home/marketplace/code
RUN python -m venv .venv
ENV PATH=/home/marketplace/code/.venv/bin:$PATH

# The requirements alone first: they are installed again only when they change.
COPY --chown=marketplace requirements-serve.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements-serve.lock
COPY --chown=marketplace pyproject.toml ./
COPY --chown=marketplace src ./src
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .

ENV MARKETPLACE_CACHE=/tmp/marketplace
WORKDIR /repository
CMD ["marketplace", "serve", "--host", "0.0.0.0"]
