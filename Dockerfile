# Images without a shell: the operator, one static program of nobody's user, with `docker build -t countersign .`; the
# sidecar, which is also netinit and therefore has nft, with `docker build --target authbridge -t authbridge .`
# Each has the C library that serves it better (docs/adr/0023-a-c-library-for-each-program.md).
FROM rust:1.95.0-alpine AS build
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates gcc make musl-dev
WORKDIR /source
COPY . .
# Builds for several platforms run at once: one at a time unpacks crates, and each has objects of its own.
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=target-musl-$TARGETARCH,target=/source/target \
    cargo build --release --locked --features operator --bin countersign \
    && mkdir -p /image/etc/ssl/certs \
    && cp target/release/countersign /image/countersign \
    # Charts of the existing operator run /manager.
    && ln -s countersign /image/manager \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM rust:1.95.0-slim-bookworm AS build-sidecar
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates netbase nftables \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=target-glibc-$TARGETARCH,target=/source/target \
    cargo build --release --locked --no-default-features --features sidecar --bin authbridge \
    && install -D target/release/authbridge /sidecar/authbridge \
    && install -D /usr/sbin/nft /sidecar/bin/nft \
    && install -D -m 644 /etc/protocols /sidecar/etc/protocols \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /sidecar/etc/ssl/certs/ca-certificates.crt \
    && for file in $(ldd /sidecar/authbridge) $(ldd /sidecar/bin/nft); do case $file in /*) install -D "$file" "/sidecar$file" ;; esac; done \
    && chroot /sidecar /bin/nft --version \
    && chroot /sidecar /authbridge --version

FROM scratch AS authbridge
LABEL org.opencontainers.image.title="authbridge" \
      org.opencontainers.image.description="Judges the tokens of requests to an AI agent, and gives its own requests the right ones" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-sidecar /sidecar/ /
ENV PATH=/bin
# Whose traffic netinit lets out by default. Kubernetes starts netinit itself as root.
USER 1337:1337
ENTRYPOINT ["/authbridge"]
CMD ["--config", "/etc/authbridge/config.yaml"]

FROM scratch
LABEL org.opencontainers.image.title="countersign" \
      org.opencontainers.image.description="Verifies the AgentCards of AI agents and turns each verdict into NetworkPolicies" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/countersign"]
CMD ["operator"]
