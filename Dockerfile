# A static program on an empty image: no shell, no libc, nobody to log in as.
# `cargo xtask image` builds it with buildah from this machine's own Rust and Debian's packages;
# `docker build .` takes the builder from a registry. Any image with this Rust and a C compiler
# for ring's assembly will do, and any base: nothing of it is needed.
ARG BUILDER=rust:1.95-alpine
ARG BASE=scratch

FROM ${BUILDER} AS build
RUN if command -v apk; then apk add --no-cache ca-certificates gcc musl-dev; fi
WORKDIR /src
COPY . .
ARG TARGET_DIR=/src/target
# What was downloaded and compiled is kept between builds. The registry's folder has a name that
# differs from machine to machine: it must not stand in the program.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    set -eu; \
    export CARGO_HOME="${CARGO_HOME:-/usr/local/cargo}" CARGO_INCREMENTAL=0; \
    export CARGO_TARGET_DIR="$TARGET_DIR"; \
    target="$(uname -m)-unknown-linux-musl"; \
    cargo fetch --locked --target "$target"; \
    for folder in "$CARGO_HOME"/registry/src/*; do \
        RUSTFLAGS="${RUSTFLAGS-} --remap-path-prefix=$folder=/registry"; \
    done; \
    export RUSTFLAGS; \
    cargo build --locked --offline --profile image --target "$target" --package harbormaster; \
    cp "$TARGET_DIR/$target/image/harbormaster" /harbormaster

FROM ${BASE}
# Whom a portal's certificate may come from: callbacks go out over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /harbormaster /harbormaster
# What is owed to those whose work is in it; `cargo xtask notices` keeps it.
COPY --chmod=444 LICENSE THIRD-PARTY.txt /licenses/
# The numeric user that the Deployment's restricted policy asks for.
USER 65532:65532
# 5001: events and webhooks over TLS. 8080: probes, metrics, the calendar page.
EXPOSE 5001 8080
ENTRYPOINT ["/harbormaster"]
