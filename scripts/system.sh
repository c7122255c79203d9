#!/usr/bin/env bash
# What the tests need beside Python: a real MariaDB server, a real browser, a clock that can be moved.
# Installs from the system's packages what is missing, where that is possible; says what to do otherwise.
set -euo pipefail

missing=()
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || missing+=(mariadb-server)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
# The command finds its library through dpkg's paths; the library alone is enough for LD_PRELOAD.
ls /usr/lib/*/faketime/libfaketime.so.1 /usr/lib/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing+=(libfaketime)
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" != 0 ]; then
    root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${root[@]}" true 2>/dev/null; then
    printf 'The tests need these programs: %s\n' "${missing[*]}" >&2
    printf 'Install them with your system'"'"'s package manager (Debian, Ubuntu: sudo apt-get install %s), then run again.\n' "${missing[*]}" >&2
    exit 1
fi
printf 'Installing %s from the system'"'"'s packages ...\n' "${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${root[@]}" apt-get update && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    exit 1
fi
