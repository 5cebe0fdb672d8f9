#!/bin/sh
# Run a command now and then each day at an hour of a zone: daily.sh 18:30 America/New_York COMMAND...
# What a run that failed leaves is told by the metrics, the log and ON_FAILURE; the next one comes.
set -u
hour=$1 zone=$2
shift 2
trap 'exit 0' TERM INT
while :; do
    "$@" || echo "ended with exit code $?: $*" >&2
    now=$(date +%s)
    next=$(TZ=$zone date -d "today $hour" +%s)
    [ "$next" -gt "$now" ] || next=$(TZ=$zone date -d "tomorrow $hour" +%s)
    sleep $((next - now)) &
    wait $!
done
