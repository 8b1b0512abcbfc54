#!/bin/sh
# An instant run, with a fault now and then that its number decides.
n=${1#--a=}
case $((n % 500)) in
    3 | 103 | 203) echo "broken on purpose" >&2; exit 1 ;;
    7 | 107) kill -9 $$ ;;
    11) setsid sleep 600 >/dev/null 2>&1 & ;;
    13) (trap '' TERM; sleep 600) & ;;
    17) echo "CUDA error: unspecified launch failure" >&2; exit 1 ;;
    19) echo "METRIC late_$((n / 2000))=1" ;;
    23) head -c 3000000 /dev/zero ;;
    29) printf 'METRIC loss=\377\000\n50%%|#####\rMETRIC x=1e999 y=\n' ;;
esac
echo "METRIC loss=0.$n"
