# The engine in an image of its own: built from source, run with the shipped configuration.
FROM rust:1.95-bookworm AS build
WORKDIR /jiesu
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
WORKDIR /jiesu
COPY --from=build /jiesu/target/release/jiesu /usr/local/bin/jiesu
COPY jiesu.toml ./
COPY sip-profiles ./sip-profiles
COPY ivr-flows ./ivr-flows
ENTRYPOINT ["jiesu"]
CMD ["serve", "--config", "jiesu.toml"]
