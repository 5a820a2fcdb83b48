# Installs the Debian packages named as arguments without starting what they bring.
# Run as root. What it changes beside the packages, it puts back.
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt="apt-get -q -o DPkg::Lock::Timeout=120"
# Lists that are stale still serve; if they do not, the installation says so.
$apt update || true
$apt install -y --no-install-recommends "$@"

# The tests start servers of their own, so none of these is to come up with the machine.
if command -v systemctl >/dev/null; then
    for package in "$@"; do
        case "$package" in
        mariadb-server) unit=mariadb ;;
        *) unit=$package ;;
        esac
        systemctl disable --quiet "$unit" || true
    done
fi
