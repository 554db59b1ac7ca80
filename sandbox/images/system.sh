#!/bin/bash
# system.sh clean ROOT: take out of a file tree what an image needs not.
# system.sh run LOWER STAGING: run the script on standard input as root in the layers LOWER. What it changes comes to
# lie in STAGING/upper. Call it in a mount namespace of its own: nothing that it mounts outlives it.
set -euo pipefail

clean() {
  local root=$1
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb \
    "$root"/usr/share/{doc,man,info,locale,lintian}/* "$root"/var/log/* "$root"/tmp/* "$root"/var/tmp/* \
    "$root"/root/.cache "$root"/etc/resolv.conf "$root"/usr/sbin/policy-rc.d
}

run() {
  local lower=$1 staging=$2 merged=$2/merged script
  script=$(cat)
  mkdir -p "$staging/work" "$merged"
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=$staging/upper,workdir=$staging/work" "$merged"
  mount -t proc proc "$merged/proc"
  cp -L /etc/resolv.conf "$merged/etc/resolv.conf"
  # What this machine reaches its packages with: a proxy may have an authority of its own.
  cp -L /etc/ssl/certs/ca-certificates.crt "$merged/tmp/trusted.crt"
  printf '#!/bin/sh\nexit 101\n' > "$merged/usr/sbin/policy-rc.d"  # packages start no server here
  chmod +x "$merged/usr/sbin/policy-rc.d"
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    PIP_CERT=/tmp/trusted.crt ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    chroot "$merged" /bin/bash -euo pipefail -c "$script" < /dev/null
  umount "$merged/proc"
  clean "$merged"
  umount "$merged"
}

"$@"
