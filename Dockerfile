# The page in a container: `docker build -t ser . && docker run --rm -p 127.0.0.1:7860:7860 ser`, then open
# http://127.0.0.1:7860. It has a model of `demo`, synthetic speech; your own bundle: `-v "$PWD/bundle:/bundle:ro"`.

FROM python:3.12-slim-bookworm AS trained
WORKDIR /pipeline
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY . .
RUN pip install --no-cache-dir --editable '.[av,cpu,export]'
RUN git init -q && dvc repro && ser bundle /bundle

FROM python:3.12-slim-bookworm
# What a bundle and the page need: no TensorFlow, no DVC.
RUN pip install --no-cache-dir \
    'gradio>=6,<7' 'jinja2>=3.1,<4' 'matplotlib>=3.9,<4' 'numpy>=2,<3' 'onnxruntime>=1.20,<2' 'psutil>=5.8,<8' \
    'pydantic>=2.8,<3' 'ruamel.yaml>=0.18,<0.20' 'scipy>=1.13,<2' 'soundfile>=0.13,<1' 'soxr>=0.5,<2' 'tqdm>=4.66,<5'
COPY --from=trained /pipeline/pyproject.toml /pipeline/README.md /pipeline/LICENSE /source/
COPY --from=trained /pipeline/stages /source/stages
RUN pip install --no-cache-dir --no-deps /source && useradd --create-home --uid 1000 ser
COPY --from=trained /bundle /bundle
USER 1000
EXPOSE 7860
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860', timeout=5)"]
# In the container 0.0.0.0 is the container; `-p 127.0.0.1:7860:7860` keeps the page on this machine.
ENTRYPOINT ["ser", "app", "--bundle", "/bundle", "--host", "0.0.0.0"]
