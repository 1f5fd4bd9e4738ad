#!/bin/sh
# Starts nats-server in compose: passwords go from the mounted secrets into its environment, where the configuration
# looks for them. nats-server reads each value as a piece of its configuration, so texts carry their quotes.
set -eu

text() { printf '"%s"' "$1"; }
secret() { cat "/run/secrets/nats_$1"; }

NATS_GATEWAY_PASSWORD=$(text "$(secret gateway)")
NATS_AUTH_PASSWORD=$(text "$(secret auth)")
NATS_CHAT_PASSWORD=$(text "$(secret chat)")
NATS_OPERATOR_PASSWORD=$(text "$(secret operator)")
NATS_HOST=$(text "${NATS_HOST:-0.0.0.0}")
export NATS_GATEWAY_PASSWORD NATS_AUTH_PASSWORD NATS_CHAT_PASSWORD NATS_OPERATOR_PASSWORD NATS_HOST

# One server and three keep apart what they store: a cluster would not know the streams of a server that stood alone.
case ${PROFILES:-} in
  '')
    if [ "$NATS_NAME" != nats-1 ]; then
      echo "three NATS servers: set COMPOSE_PROFILES=three in .env; --profile alone tells only half of the services" >&2
      exit 2
    fi
    config=nats.conf
    NATS_STORE_DIR=$(text /data/one)
    ;;
  three)
    config=cluster.conf
    NATS_STORE_DIR=$(text /data/three)
    NATS_CLUSTER_PASSWORD=$(text "$(secret cluster)")
    NATS_ROUTE_1=$(text "nats-route://cluster:$(secret cluster)@nats-1:6222")
    NATS_ROUTE_2=$(text "nats-route://cluster:$(secret cluster)@nats-2:6222")
    NATS_ROUTE_3=$(text "nats-route://cluster:$(secret cluster)@nats-3:6222")
    export NATS_CLUSTER_PASSWORD NATS_ROUTE_1 NATS_ROUTE_2 NATS_ROUTE_3
    ;;
  *)
    echo "COMPOSE_PROFILES=$PROFILES is not known; leave it out for one NATS server, or set it to: three" >&2
    exit 2
    ;;
esac
NATS_NAME=$(text "$NATS_NAME")
export NATS_STORE_DIR NATS_NAME

exec nats-server --config "/etc/nats/$config"
