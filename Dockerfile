# syntax=docker/dockerfile:1
# A static program on an empty image. The builder can be any image with this Rust.
ARG BUILDER=docker.io/library/rust:1.95-alpine
ARG BASE=scratch

FROM ${BUILDER} AS build
# musl: no libc to bring along. A compiler is needed for ring's assembly.
RUN apk add --no-cache musl-dev gcc
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin harbormaster && \
    cp target/release/harbormaster /harbormaster

FROM ${BASE}
COPY --from=build /harbormaster /harbormaster
# The numeric user that the Deployment's restricted policy asks for.
USER 65532:65532
# 5001: events and webhooks over TLS. 8080: probes.
EXPOSE 5001 8080
ENTRYPOINT ["/harbormaster"]
