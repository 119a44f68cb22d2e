# Images without a shell: the operator, one static program of nobody's user, with `docker build -t countersign .`; the
# sidecar, which is also netinit and therefore has nft, with `docker build --target authbridge -t authbridge .`
FROM rust:1.95.0-alpine AS build
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates gcc make musl-dev nftables
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --features operator --bin countersign \
    && cargo build --release --locked --no-default-features --features sidecar --bin authbridge \
    && mkdir -p /image/etc/ssl/certs /sidecar/etc/ssl/certs \
    && cp target/release/authbridge /sidecar/authbridge \
    && cp /etc/ssl/certs/ca-certificates.crt /sidecar/etc/ssl/certs/ \
    && install -D /usr/sbin/nft /sidecar/bin/nft \
    && for file in $(ldd /usr/sbin/nft); do case $file in /*) install -D "$file" "/sidecar$file" ;; esac; done \
    && chroot /sidecar /bin/nft --version \
    && cp target/release/countersign /image/countersign \
    # Charts of the existing operator run /manager.
    && ln -s countersign /image/manager \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch AS authbridge
LABEL org.opencontainers.image.title="authbridge" \
      org.opencontainers.image.description="Judges the tokens of requests to an AI agent, and gives its own requests the right ones" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /sidecar/ /
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
