#!/usr/bin/env bash
# Installs the real programs that tests and benchmarks talk to, only those that are missing, from Debian's packages.
#   tools/services.sh          what `make test` needs
#   tools/services.sh --bench  also what `make bench` compares with
set -u

# program (or a path that shows it) and the package it comes in
needed=(certutil:libnss3-tools redis-server:redis-server nginx:nginx-light postgres:postgresql pgbouncer:pgbouncer etcd:etcd-server named:bind9 apache2:apache2 node:nodejs /usr/share/tomcat10:tomcat10 chromium:chromium rsyslogd:rsyslog promtool:prometheus libseccomp.so.2:libseccomp2 libmodsecurity.so.3:libmodsecurity3 /usr/share/modsecurity-crs/rules:modsecurity-crs c-icap:c-icap /usr/lib/x86_64-linux-gnu/c_icap/virus_scan.so:libc-icap-mod-virus-scan clamd:clamav-daemon clamdscan:clamdscan mosquitto:mosquitto)
bench=(wrk:wrk haproxy:haproxy h2load:nghttp2-client redis-cli:redis-tools taskset:util-linux ss:iproute2 ps:procps)
[ "${1:-}" = --bench ] && needed+=("${bench[@]}" "/usr/lib/nginx/modules/ngx_http_lua_module.so:libnginx-mod-http-lua" "/usr/share/lua/5.1/nginx/redis.lua:lua-nginx-redis")

found() {
  case "$1" in
    /*) [ -e "$1" ] ;;
    *.so.*) PATH="$PATH:/sbin" ldconfig -p | grep -qF "$1" ;;
    postgres) command -v postgres >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
    *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null ;;
  esac
}

# h2spec judges HTTP/2; it is no Debian package, but Go can build it. Its proxy checks the sums of what it fetches.
H2SPEC=github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
if command -v go >/dev/null; then
  PATH="$PATH:$(go env GOBIN):$(go env GOPATH)/bin"
  if ! command -v h2spec >/dev/null; then
    echo "services: building h2spec"
    go install "$H2SPEC" || echo "services: go could not build h2spec; the test that needs it is skipped"
  fi
  GRPC=google.golang.org/grpc/interop
  if [ ! -x "$(go env GOPATH)/bin/grpc-interop/server" ]; then
    echo "services: building grpc-go's interop programs"
    GOBIN="$(go env GOPATH)/bin/grpc-interop" go install "$GRPC/client@v1.67.1" "$GRPC/server@v1.67.1" ||
      echo "services: go could not build them; the tests that need them are skipped"
  fi
  PEBBLE=github.com/letsencrypt/pebble/v2/cmd
  if ! command -v pebble >/dev/null || ! command -v pebble-challtestsrv >/dev/null; then
    echo "services: building Pebble, an ACME authority for tests"
    go install "$PEBBLE/pebble@v2.10.3" "$PEBBLE/pebble-challtestsrv@v2.10.3" ||
      echo "services: go could not build it; the tests that need it are skipped"
  fi
  if [ ! -x "$(go env GOPATH)/bin/toxiproxy/server" ]; then
    echo "services: building Toxiproxy, a faulty network for tests"
    GOBIN="$(go env GOPATH)/bin/toxiproxy" go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0 ||
      echo "services: go could not build it; the tests that need it are skipped"
  fi
  if ! command -v headgate-h3load >/dev/null; then
    echo "services: building a client for HTTP/3"
    folder=$(go env GOBIN)
    go -C "$(dirname "$0")/../bench/h3load" build -o "${folder:-$(go env GOPATH)/bin}/headgate-h3load" . ||
      echo "services: go could not build it; the test that needs it is skipped"
  fi
  build_receiver() {
    command -v "$1" >/dev/null && return
    echo "services: building $1, which $2"
    CGO_ENABLED=0 go install "$3" || echo "services: go could not build it; the tests that need it are skipped"
  }
  build_receiver victoria-logs "takes logs by Loki's push API" github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@v1.52.1
  build_receiver statsd_exporter "reads StatsD with tags" github.com/prometheus/statsd_exporter@v0.28.0
  if ! command -v opa >/dev/null; then
    echo "services: building Open Policy Agent, which takes some minutes"
    go install github.com/open-policy-agent/opa@v0.70.0 ||
      echo "services: go could not build it; the test that needs it is skipped"
  fi
else
  echo "services: no Go here; the tests with h2spec and grpc-go are skipped (hint: https://go.dev/dl)"
fi

missing=()
for pair in "${needed[@]}"; do
  found "${pair%%:*}" || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "services: all there"
  exit 0
fi

echo "services: missing ${missing[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(false); fi
fi
if ! command -v apt-get >/dev/null || [ "${as_root[0]:-}" = false ]; then
  echo "services: cannot install them here; the tests that need them are skipped"
  echo "  hint: as root, apt-get install ${missing[*]}"
  exit 0
fi
# Debian would start what it installs; the tests start their own, on their own ports.
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" \
  || { echo "services: apt-get failed; the tests that need ${missing[*]} are skipped"; exit 0; }
