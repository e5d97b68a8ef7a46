#!/bin/sh
# Runs the image's program as a kubelet would: its files read-only, its user, no way to more rights.
# Of the machine it sees how names are resolved, and the folder of temporary files.
set -eu
root='ROOT' user='USER' entry='ENTRY' temporary='TEMPORARY'

# What the stage wrote belongs to us; a cluster would mount it for that user.
for word in "$@" "${HARBORMASTER_CA_FILE-}"; do
    case $word in
    "$temporary"/*)
        below=${word#"$temporary"/}
        chown -R "$user" "$temporary/${below%%/*}" || true
        ;;
    esac
done
mkdir -p "$root$temporary" "$root/etc"
touch "$root/etc/hosts" "$root/etc/resolv.conf"
exec unshare --mount -- sh -eu -c '
    root=$1 user=$2 entry=$3 temporary=$4
    shift 4
    mount --bind "$root" "$root"
    mount --bind "$temporary" "$root$temporary"
    mount --bind /etc/hosts "$root/etc/hosts"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
    mount -o remount,bind,ro "$root"
    exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$entry" "$@"
' sh "$root" "$user" "$entry" "$temporary" "$@"
