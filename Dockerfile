# CPU: docker build -t sed-search .
# GPU: docker build -t sed-search:cuda --build-arg TORCH_BACKEND=cu128 .     (docs/howto/docker.md)
ARG PYTHON_VERSION=3.12
FROM python:${PYTHON_VERSION}-slim

# Which build of PyTorch: cpu, or one for CUDA, which brings all that it needs but for the driver.
ARG TORCH_BACKEND=cpu
# Who writes to mounted folders.
ARG USER_ID=1000

WORKDIR /opt/sed-search
RUN pip install --no-cache-dir --root-user-action ignore uv
# The packages before the code: a change of the code installs none of them anew.
COPY pyproject.toml constraints.txt ./
RUN uv pip install --system --no-cache --compile-bytecode --torch-backend ${TORCH_BACKEND} -c constraints.txt --extra export -r pyproject.toml
COPY README.md LICENSE ./
COPY sed_model sed_model
COPY trainables trainables
COPY analysis analysis
COPY search_spaces search_spaces
RUN uv pip install --system --no-cache --compile-bytecode --no-deps .

RUN useradd --create-home --uid ${USER_ID} sed && install -d -o sed /sed /sed/runs /sed/cache
USER sed
WORKDIR /sed
ENV SED_CACHE_DIR=/sed/cache RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
ENTRYPOINT ["sed-search"]
CMD ["--help"]
