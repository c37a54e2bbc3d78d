#!/usr/bin/env bash
# Runs tools/train.py in GPUS processes on this machine, on its GPUs or, where it has none, its CPU.
# From the environment: PORT, and for several machines NNODES, NODE_RANK and MASTER_ADDR.
set -euo pipefail

usage() {
    echo "usage: [PORT=29500] [NNODES=1] [NODE_RANK=0] [MASTER_ADDR=127.0.0.1]" \
        "$0 CONFIG GPUS [arguments of train.py]"
}
fail() {
    echo "dist_train.sh: $*" >&2
    exit 2
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit 0
fi
if [[ $# -lt 2 || $1 == -* || ! $2 =~ ^[1-9][0-9]*$ ]]; then
    usage >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
PORT=${PORT:-29500}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
PYTHON=${PYTHON:-python}
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

command -v "$PYTHON" > /dev/null ||
    fail "no program $PYTHON: activate the environment that rdarts is installed in, or set PYTHON"
# a search's config need not be written
[[ -f $CONFIG ]] || "$PYTHON" -c 'import sys
from rdarts.configuration.config_names import find_config
find_config(sys.argv[1])' "$CONFIG" 2> /dev/null || fail "no config $CONFIG"
[[ $PORT =~ ^[0-9]{1,5}$ ]] && ((10#$PORT >= 1 && 10#$PORT <= 65535)) ||
    fail "PORT must be a number from 1 to 65535, not '$PORT'"

# The first machine listens; on the others, the port is the first one's.
if [[ $NODE_RANK == 0 ]]; then
    status=0
    "$PYTHON" - "$PORT" << 'EOF' || status=$?
import errno
import socket
import sys

dual = socket.has_dualstack_ipv6()
try:
    socket.create_server(
        ('', int(sys.argv[1])),
        family=socket.AF_INET6 if dual else socket.AF_INET,
        dualstack_ipv6=dual,
    ).close()
except OSError as error:
    sys.exit({errno.EADDRINUSE: 3, errno.EACCES: 4}.get(error.errno, 0))
EOF
    case $status in
    0) ;;
    3) fail "port $PORT on $MASTER_ADDR is in use; choose another, such as PORT=$((10#$PORT % 65535 + 1))" ;;
    4) fail "port $PORT on $MASTER_ADDR needs more rights; choose one from 1024 on" ;;
    *) fail "$PYTHON cannot run; see the message above" ;;
    esac
fi

# torchrun would set 1, whatever cores there are
OMP_NUM_THREADS=$("$PYTHON" -c 'import sys; from rdarts.utils.machine import share_of_cores
print(share_of_cores(int(sys.argv[1])))' "$GPUS") ||
    fail "$PYTHON cannot import rdarts: pip install -e . first"
export OMP_NUM_THREADS
exec "$PYTHON" -m rdarts.torchrun \
    --nnodes="$NNODES" \
    --node-rank="$NODE_RANK" \
    --master-addr="$MASTER_ADDR" \
    --master-port="$PORT" \
    --nproc-per-node="$GPUS" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"
