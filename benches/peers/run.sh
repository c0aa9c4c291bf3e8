#!/usr/bin/env bash
# Compares photog's durable queue with other queues: same machine, same disk, same load, one run.
# What each system promises and what is measured: README.md beside this file.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: benches/peers/run.sh [options]
  --photog FILE       the program to measure; without it photog is left out
  --only LIST         systems, by comma: photog,photog-watch,beanstalkd,postgres,redis,nats
  --workloads LIST    put,cycle                 (default: both)
  --clients LIST      numbers of clients        (default: 1,16,64)
  --payloads LIST     bytes per entry           (default: 1024)
  --seconds N         length of one measurement (default: 5)
  --warm-up N         seconds before it         (default: 1)
  --runs N            runs of each case         (default: 3)
  --data DIR          parent of the servers' data, on the disk to measure (default: target folder)
  --json FILE         raw figures               (default: target folder/peers.json)
  --generator FILE    a built load generator    (default: cargo builds it)
  --sync-delay-us N   make each fsync and fdatasync of a server N microseconds slower (strace), to
                      see what a slower disk would do
  --syncs             count sync calls per operation with strace instead of measuring speed
TEXT
}

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
only=photog,photog-watch,beanstalkd,postgres,redis,nats
workloads=put,cycle clients=1,16,64 payloads=1024 seconds=5 warm_up=1 runs=3
sync_delay_us=0
photog='' generator='' data=$target json=$target/peers.json syncs=no

while (($#)); do
    case $1 in
        --help | -h) usage; exit ;;
        --syncs) syncs=yes; shift; continue ;;
        --photog | --only | --workloads | --clients | --payloads | --seconds | --warm-up | --runs | \
            --data | --json | --generator | --sync-delay-us)
            (($# > 1)) || fail "$1 needs a value"
            name=${1#--}
            printf -v "${name//-/_}" '%s' "$2"
            shift 2
            ;;
        *) usage >&2; exit 2 ;;
    esac
done
[[ $runs =~ ^[1-9][0-9]?$ ]] || fail "--runs takes a number from 1 to 99"
[[ $sync_delay_us =~ ^[0-9]{1,6}$ ]] || fail "--sync-delay-us takes a number up to 999999"

# Where Debian keeps them, also when the caller's PATH does not.
PATH=$PATH:/usr/sbin:$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)

# What must be there for a system, and what brings it.
missing() {
    case $1 in
        photog*) [[ -x $photog ]] || echo "no program: give --photog FILE" ;;
        beanstalkd) command -v beanstalkd >/dev/null || echo "not installed: apt-get install beanstalkd" ;;
        postgres) command -v initdb >/dev/null || echo "not installed: apt-get install postgresql" ;;
        redis) command -v redis-server >/dev/null || echo "not installed: apt-get install redis-server" ;;
        nats) command -v nats-server >/dev/null || echo "not installed: apt-get install nats-server" ;;
        *) fail "--only: $1 is not a system" ;;
    esac
}

systems=() report=()
for system in ${only//,/ }; do
    reason=$(missing "$system")
    if [[ $reason ]]; then
        echo "skipping $system: $reason" >&2
        report+=(--missing "$system=skipped: $reason")
    else
        systems+=("$system")
    fi
done

if [[ ! $generator ]]; then
    generator=$(cd "$root" && cargo bench --quiet --bench peers --no-run --message-format=json |
        sed -n 's/.*"name":"peers".*"executable":"\([^"]*\)".*/\1/p')
    [[ -x $generator ]] || fail "cargo did not build the bench target peers"
fi

mkdir -p "$data"
work=$(mktemp -d "$data/peers.XXXXXX")
chmod 755 "$work" # PostgreSQL runs as another user
server='' address=''

# Ends the server that this script started, and only that one.
stop_server() {
    [[ $server ]] || return 0
    kill -TERM "$server" 2>/dev/null || true
    for _ in {1..100}; do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=''
}
trap 'stop_server; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Each of the following starts one server on an empty folder and sets `server` and `address`.
# `tracer` is empty, or strace, which stays beside the server and keeps its process id.
tracer=()
sync_counts=$work/sync_counts
if [[ $syncs == yes ]]; then
    tracer=(strace -D -f --seccomp-bpf -c -o "$sync_counts"
        -e trace=fsync,fdatasync,sync_file_range,syncfs,msync)
elif ((sync_delay_us > 0)); then
    tracer=(strace -D -f --seccomp-bpf -o /dev/null -e trace=fsync,fdatasync
        -e "inject=fsync,fdatasync:delay_exit=$sync_delay_us")
fi
((${#tracer[@]} == 0)) || command -v strace >/dev/null || fail "not installed: apt-get install strace"

launch() {
    "${tracer[@]}" "$@" >"$folder/log" 2>&1 </dev/null &
    server=$!
}

free_address() {
    address=127.0.0.1:$("$generator" free-port)
}

start_photog() {
    cat >"$folder/queue.json" <<'TEXT'
{"metadata": {"name": "bench", "type": "Queue", "instance": 1}}
TEXT
    launch "$photog" serve --listen 127.0.0.1:0 --data-dir "$folder/data" --service "$folder/queue.json"
    for _ in {1..200}; do
        address=$(sed -n 's|^photog listening on http://||p' "$folder/log")
        [[ $address ]] && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    return 1
}

start_beanstalkd() {
    free_address
    mkdir "$folder/data"
    launch beanstalkd -l 127.0.0.1 -p "${address#*:}" -b "$folder/data" -f 0
}

start_redis() {
    free_address
    mkdir "$folder/data"
    launch redis-server --bind 127.0.0.1 --port "${address#*:}" --dir "$folder/data" --save '' \
        --appendonly yes --appendfsync always
}

start_nats() {
    free_address
    local sync=''
    if nats_can_sync; then
        sync='sync_interval: always'
    elif ((sync_delay_us > 0)); then
        local tracer=() # no sync to delay, and strace would slow the Go runtime's own signals
    fi
    cat >"$folder/nats.conf" <<TEXT
listen: "$address"
jetstream { store_dir: "$folder/data", $sync }
TEXT
    launch nats-server -c "$folder/nats.conf"
}

# Whether the server has the option to sync before it acknowledges; before 2.10 it has not.
nats_can_sync() {
    echo 'jetstream { sync_interval: always }' >"$work/probe.conf"
    nats-server -t -c "$work/probe.conf" >/dev/null 2>&1
}

# PostgreSQL refuses to run as root. setpriv keeps the process id, runuser would put itself between.
start_postgres() {
    free_address
    local as_user=()
    if ((EUID == 0)); then
        chown postgres "$folder"
        as_user=(setpriv --reuid=postgres --regid=postgres --init-groups)
    fi
    (cd "$folder" && "${as_user[@]}" initdb -D "$folder/data" -U postgres --auth=trust --locale=C \
        -E UTF8) >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; return 1; }
    launch "${as_user[@]}" postgres -D "$folder/data" -p "${address#*:}" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=$((count + 20)) \
        -c fsync=on -c synchronous_commit=on
}

# Measures one case on a fresh server; adds a line to `records`.
records=$work/records.jsonl
declare -A failures=()
: >"$records"
measure_case() {
    local system=$1
    folder=$work/case
    mkdir "$folder"
    chmod 755 "$folder"
    rm -f "$sync_counts"
    local line=''
    if "start_${system%-watch}"; then
        line=$("$generator" measure --system "$system" --workload "$workload" --address "$address" \
            --clients "$count" --payload-bytes "$payload" --seconds "$seconds" \
            --warm-up-seconds "$warm_up" --run "$run") || true
    fi
    stop_server
    if [[ $line ]]; then
        echo "$line" >>"$records"
        [[ $syncs == no ]] || print_syncs "$line"
    else
        failures[$system]=$((${failures[$system]:-0} + 1))
        echo "failed: $system, $workload, $count clients; the end of its log:" >&2
        tail -n 5 "$folder/log" >&2 || true
    fi
    rm -rf "$folder"
}

# One row: operations, and sync calls per operation, those of start and stop included.
print_syncs() {
    local operations
    operations=$(sed 's/.*"operations_with_warm_up":\([0-9]*\).*/\1/' <<<"$1")
    for _ in {1..50}; do
        [[ -s $sync_counts ]] && break # strace writes its table after the server has ended
        sleep 0.1
    done
    awk -v row="| $system | $workload | $count | $operations" -v operations="$operations" '
        $NF ~ /sync/ { calls += $4; kinds = kinds " " $NF }
        END { printf "%s | %d |%s | %.3f |\n", row, calls, kinds, calls / operations }' "$sync_counts"
}

if [[ $syncs == yes ]]; then
    echo '| system | workload | clients | operations | sync calls | kind | per operation |'
    echo '| --- | --- | ---: | ---: | ---: | --- | ---: |'
fi

version_of() {
    case $1 in
        photog*) "$photog" --version ;;
        beanstalkd) beanstalkd -v ;;
        postgres) postgres --version ;;
        redis) redis-server --version ;;
        nats) nats-server --version ;;
    esac 2>&1 | head -n 1
}

sync_time() {
    "${tracer[@]}" "$generator" sync-time "$work"
}

sync_before=$(sync_time)
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)
for ((run = 1; run <= runs; run++)); do
    for payload in ${payloads//,/ }; do
        for workload in ${workloads//,/ }; do
            for count in ${clients//,/ }; do
                # The next system begins in each run, so that none is always first or last.
                for ((place = 0; place < ${#systems[@]}; place++)); do
                    system=${systems[(place + run - 1) % ${#systems[@]}]}
                    # A put is the same however entries are taken.
                    [[ $system/$workload == photog-watch/put ]] && continue
                    echo "run $run of $runs: $workload, $payload bytes, $count clients: $system" >&2
                    measure_case "$system"
                done
            done
        done
    done
done

fact() {
    report+=(--fact "$1=$2")
}
fact date "$(date -u +%Y-%m-%dT%H:%MZ)"
fact commit "$(git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)"
fact processor "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
fact memory "$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
fact kernel "$(uname -srm)"
fact "file system" "$(findmnt -n -o FSTYPE,SOURCE,OPTIONS -T "$data" | tr -s ' ')"
fact "one sync of 1 KiB on that disk" "before: $sync_before; after: $(sync_time)"
((sync_delay_us == 0)) || fact "SIMULATED" "each sync of a server is made $sync_delay_us us slower"
fact "load average before and after" "$load_before, $(cut -d ' ' -f 1-3 /proc/loadavg)"
fact "each figure" "$seconds s after $warm_up s of warm-up, a fresh server on an empty folder, $runs runs"
for system in "${systems[@]}"; do
    [[ $system == photog-watch ]] || fact "$system" "$(version_of "$system")"
done
for system in "${!failures[@]}"; do
    report+=(--missing "$system=measurements that failed: ${failures[$system]}")
done
if [[ " ${systems[*]} " == *' nats '* ]]; then
    if nats_can_sync; then
        remark='syncs before it acknowledges (sync_interval: always)'
    else
        remark='this version acknowledges before it syncs, which it does every two minutes: '
        remark+='not a durable queue'
    fi
    report+=(--remark "nats=$remark")
fi
if [[ $syncs == no ]]; then
    mkdir -p "$(dirname "$json")"
    "$generator" report --records "$records" --json "$json" "${report[@]}"
fi
((${#failures[@]} == 0)) || fail "some measurements failed: ${!failures[*]}"
