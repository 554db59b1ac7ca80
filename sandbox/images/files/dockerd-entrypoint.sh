#!/bin/sh
# Docker's daemon over TLS on 2376 and on its local socket; the client's certificates are in $DOCKER_TLS_CERTDIR/client,
# as in the official image docker:dind.
set -eu
certs=$DOCKER_TLS_CERTDIR
issue() {  # NAME SUBJECT EXTENSIONS
  mkdir -p "$certs/$1"
  cp "$certs/ca/cert.pem" "$certs/$1/ca.pem"
  openssl req -new -newkey rsa:2048 -nodes -keyout "$certs/$1/key.pem" -subj "$2" -out "$certs/$1/csr.pem"
  printf '%s\n' "$3" "authorityKeyIdentifier = keyid" > "$certs/$1/extensions"
  openssl x509 -req -in "$certs/$1/csr.pem" -CA "$certs/ca/cert.pem" -CAkey "$certs/ca/key.pem" -CAcreateserial \
    -days 825 -extfile "$certs/$1/extensions" -out "$certs/$1/cert.pem"
  chmod 0644 "$certs/$1/key.pem"  # the builder reads it as www-data
}
if [ ! -e "$certs/server/cert.pem" ]; then
  mkdir -p "$certs/ca"
  # Python 3.13 refuses an authority that does not say what its key is for.
  openssl req -x509 -newkey rsa:2048 -nodes -days 825 -subj "/CN=docker:dind CA" -keyout "$certs/ca/key.pem" \
    -addext "keyUsage = critical, keyCertSign, cRLSign" -out "$certs/ca/cert.pem"
  issue server /CN=docker "subjectAltName = DNS:localhost, DNS:docker, DNS:$(hostname), IP:127.0.0.1
extendedKeyUsage = serverAuth"
  issue client /CN=client "extendedKeyUsage = clientAuth"
fi
rm -f /var/run/docker.pid /run/docker/containerd/containerd.pid
exec dockerd --host unix:///var/run/docker.sock --host tcp://0.0.0.0:2376 --tlsverify \
  --tlscacert "$certs/server/ca.pem" --tlscert "$certs/server/cert.pem" --tlskey "$certs/server/key.pem" "$@"
