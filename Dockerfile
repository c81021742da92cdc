# The longshore command as an image: one static program, nothing else, no root.
#
#   docker build --tag registry.example/longshore:0.1.0 .
#
# For a mirror of Docker Hub: --build-arg BUILDER=mirror.example/library/rust:1.95-slim-bookworm
ARG BUILDER=docker.io/library/rust:1.95-slim-bookworm

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# Statically linked, so that the image below needs no libraries. The target is
# named so that this does not reach the compiler's own plug-ins.
RUN RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=symbols \
    cargo build --locked --release --package longshore-cli --target "$(rustc --print host-tuple)" \
        --target-dir /build \
    && mkdir -p /image/usr/local/bin \
    && cp /build/*/release/longshore /image/usr/local/bin/longshore

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/local/bin
# Numeric, so that a kubelet can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["longshore"]
