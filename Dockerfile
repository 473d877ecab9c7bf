# The agent as an image that holds one static executable and nothing else.
#
#   docker build -t opssc-agent .
#   docker run --rm opssc-agent demo

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --bin opssc-agent \
 && mkdir -p /out/opt/opssc/data /out/tmp \
 && cp target/*/dist/opssc-agent /out/opssc-agent \
 && chmod 1777 /out/tmp

FROM scratch
# Numeric: there is no user database to look a name up in.
COPY --from=build --chown=65532:65532 /out/ /
USER 65532:65532
# Event checkpoints: what a restart goes on from.
VOLUME ["/opt/opssc/data"]
# GET /healthz
EXPOSE 5500
ENTRYPOINT ["/opssc-agent"]
