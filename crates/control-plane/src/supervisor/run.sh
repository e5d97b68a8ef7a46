# Runs a program for a process that may die without a word.
# Usage: sh -c THIS sh LOG GRACE_SECONDS PROGRAM [ARGUMENT...]
#
# stdin  our parent's lifeline: its end is the order to stop, whoever gave it.
# stdout "running", then "exited STATUS"; its end says that all here is gone.
# stderr the lifeline of the supervisor that must outlive this one: only held.
exec 3<&0 4>&2 2>>"$1"
log=$1 grace=$2
shift 2

# A handler and not '': an ignored signal would stay ignored in the program. A
# dead parent must not kill us by SIGPIPE before our work is done.
trap : PIPE

exec "$@" 1>>"$log" 2>&1 3<&- 4>&- &
program=$!
trap 'kill -TERM "$program" 2>/dev/null' TERM
echo running

# $$ is the supervisor's process, here too.
(
    exec 1>&- 4>&-
    while read -r _; do :; done <&3
    kill -TERM $$
    left=$((grace * 10))
    while [ "$left" -gt 0 ]; do
        sleep 0.1
        left=$((left - 1))
    done
    kill -KILL "$program"
) 2>/dev/null &
watcher=$!
exec 3<&-

# A trapped signal ends `wait` too, with the program alive or not yet reaped.
while :; do
    wait "$program"
    status=$?
    kill -0 "$program" 2>/dev/null || break
done
echo "exited $status"
# Not TERM: a watcher just forked may have our handler still, and drop its signal.
kill -KILL "$watcher" 2>/dev/null
wait "$watcher"
