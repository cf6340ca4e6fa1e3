# The pipeline with all that it needs. From the repository's root:
#   docker build --tag marketplace .
#   docker run --rm --volume marketplace-results:/results marketplace
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git=1:2.39.* make=4.3-* \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 marketplace && mkdir /results && chown marketplace /results
USER 1000
WORKDIR /home/marketplace/repository

# The requirements alone first: they are installed again only when they change.
COPY --chown=marketplace requirements.lock pyproject.toml Makefile ./
COPY --chown=marketplace src ./src
RUN make .venv/requirements.sha256
COPY --chown=marketplace . .

# DVC's cache and what was computed once outlive the container.
ENV MARKETPLACE_CACHE=/results/cache
RUN .venv/bin/dvc cache dir --local /results/dvc
CMD ["make", "repro"]
