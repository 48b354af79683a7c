# graft in a container: `docker build .` for the CPU, `docker build --build-arg PROVIDER=cuda .` for NVIDIA GPUs.
# The cuda variant has not been tested: it was written on machines without a GPU.
# An argument chooses between them, not a stage: builders without BuildKit build every stage above the one asked for.
ARG PROVIDER=cpu
# These replace the base images, which have exact versions (Rust's is rust-toolchain.toml's). Empty is as good as unset:
# docker-compose 1 passes empty arguments for unset variables.
ARG RUST_IMAGE
ARG PYTHON_IMAGE
ARG DEBIAN_IMAGE

# The binary. Dependencies are built before the sources are copied, so that a change in src/ rebuilds only graft.
FROM ${RUST_IMAGE:-rust:1.95.0-slim-bookworm} AS build
WORKDIR /build
# libjpeg-turbo is built with CMake and, for its SIMD on x86-64, NASM.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake make nasm \
 && rm -rf /var/lib/apt/lists/*
COPY Cargo.toml Cargo.lock build.rs ./
COPY src/preprocess/decode/jpeg/libjpeg.c src/preprocess/decode/jpeg/
RUN sed -i -E '/^\[\[(bench|example)\]\]/,/^$/d' Cargo.toml \
 && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
 && cargo build --release --locked \
 && rm -r src target/release/.fingerprint/graft-*
COPY . .
RUN cargo build --release --locked --bin graft && strip --strip-debug target/release/graft

# EfficientNet-Lite0's weights, which graft imports at start: beside the volume of models, where an existing one hides nothing.
# And ONNX Runtime's library, out of its wheel; for cuda also CUDA 13 and cuDNN, out of NVIDIA's wheels with their licences.
FROM ${PYTHON_IMAGE:-python:3.13.7-slim-bookworm} AS library
ARG PROVIDER
WORKDIR /opt/onnxruntime
COPY scripts/fetch-starter.sh scripts/scratch.sh scripts/starter.py /tmp/
RUN sh /tmp/fetch-starter.sh /opt/graft
COPY scripts/fetch-onnxruntime.sh scripts/scratch.sh scripts/onnxruntime.txt scripts/cuda.txt /tmp/
RUN case "$PROVIDER" in \
      cpu) sh /tmp/fetch-onnxruntime.sh onnxruntime . ;; \
      cuda) sh /tmp/fetch-onnxruntime.sh onnxruntime-gpu . && rm -f libonnxruntime_providers_tensorrt.so ;; \
      *) echo "PROVIDER is $PROVIDER: it must be cpu or cuda" >&2; exit 1 ;; \
    esac \
 && ln -s libonnxruntime.so.* libonnxruntime.so
RUN if [ "$PROVIDER" = cuda ]; then \
      pip install --quiet --no-cache-dir --only-binary=:all: --target /tmp/nvidia \
        --require-hashes --requirement /tmp/cuda.txt \
      && find /tmp/nvidia -name '*.so*' -type f -exec mv -t . {} + \
      && for notice in $(cd /tmp/nvidia && find . -path '*.dist-info/*' -iname 'license*' -type f); do \
           cp "/tmp/nvidia/$notice" "$(echo "${notice#./}" | tr / _)"; \
         done \
      && rm -r /tmp/nvidia; \
    fi

FROM ${DEBIAN_IMAGE:-debian:12.12-slim}
ARG PROVIDER
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin graft \
 && mkdir -p /app /models /data \
 && chown graft:graft /models /data
COPY --from=library /opt/onnxruntime /opt/onnxruntime
COPY --from=library /opt/graft /opt/graft
COPY --from=build /build/target/release/graft /usr/local/bin/graft
COPY LICENSE-MIT LICENSE-APACHE THIRD-PARTY.md src/plot/DejaVuSans-LICENSE.txt /usr/share/doc/graft/
COPY config /app/config
COPY scripts/bring-models.sh /usr/local/bin/bring-models
WORKDIR /app
# Within the container alone: who else reaches it is for whoever publishes the port, and compose.yaml publishes it on the loopback.
ENV GRAFT__SERVER__HOST=0.0.0.0 \
    GRAFT__SERVER__ALLOW_ANONYMOUS=true \
    GRAFT__SERVER__HOSTS=localhost,graft \
    GRAFT__SERVER__PORT=8080 \
    GRAFT__MODELS__DIR=/models \
    GRAFT__MODELS__STARTER=/opt/graft/efficientnet_lite0.safetensors \
    GRAFT__DATA__DIR=/data \
    GRAFT__RUNTIME__LIBRARY=/opt/onnxruntime/libonnxruntime.so \
    GRAFT__RUNTIME__PROVIDER=$PROVIDER \
    LD_LIBRARY_PATH=/opt/onnxruntime
USER graft
VOLUME ["/models", "/data"]
EXPOSE 8080
# The start period covers reading and warming the models from a cold disk.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["graft", "doctor", "--running"]
ENTRYPOINT ["graft"]
CMD ["serve"]
