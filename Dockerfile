# The operator's image: one static program, no shell, nobody's user. Build it with `docker build -t countersign .`
FROM rust:1.95-alpine AS build
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates gcc make musl-dev
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --features operator --bin countersign \
    && mkdir -p /image/etc/ssl/certs \
    && cp target/release/countersign /image/countersign \
    # Charts of the existing operator run /manager.
    && ln -s countersign /image/manager \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
LABEL org.opencontainers.image.title="countersign" \
      org.opencontainers.image.description="Verifies the AgentCards of AI agents and turns each verdict into NetworkPolicies" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
USER 65532:65532
ENTRYPOINT ["/countersign"]
CMD ["operator"]
