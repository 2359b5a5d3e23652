# A model behind `closeup serve`, without PyTorch:
#   docker build -t closeup-serve .
#   docker run -p 8000:8000 -e CLOSEUP_TOKEN=… -v ./watches/model:/model:ro closeup-serve
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/closeup \
    && /opt/closeup/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 closeup
COPY --from=build /opt/closeup /opt/closeup
# Compiled networks are kept here: mount a volume to start quicker the next time.
ENV PATH=/opt/closeup/bin:$PATH CLOSEUP_CACHE=/home/closeup/cache PYTHONUNBUFFERED=1
USER closeup
WORKDIR /home/closeup
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Reached from outside the container, so it wants CLOSEUP_TOKEN.
ENTRYPOINT ["closeup", "serve", "/model", "--host", "0.0.0.0", "--port", "8000"]
