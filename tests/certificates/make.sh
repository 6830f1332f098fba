#!/usr/bin/env bash
# Makes the certificates of tests/x509.rs, with the OpenSSL command line (3.0 or later) alone, in the folder of this script. They are
# committed: run it only to change them. The dates are fixed, as the tests say what time it is: from 2020 to 2099, unless named.
set -euo pipefail
cd "$(dirname "$0")"
rm -rf -- *.pem
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The server's key is that of the other tests.
server=../keys/rsa2048.pem
first=20200101000000Z
last=20991231235959Z

rsa() { openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/$1.key"; }
ec() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$1.key"; }
ed25519() { openssl genpkey -quiet -algorithm ED25519 -out "$work/$1.key"; }

# sign NAME SUBJECT KEY ISSUER EXTENSIONS [FROM TO [DIGEST]]: NAME.pem for the key, by ISSUER ("self" for itself).
serial=100
sign() {
  local name=$1 subject=$2 key=$3 issuer=$4 extensions=$5 from=${6:-$first} to=${7:-$last} digest=${8:-default}
  serial=$((serial + 1))
  mkdir -p "$work/ca"
  : >"$work/ca/index.txt"
  printf '%x\n' "$serial" >"$work/ca/serial"
  {
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\n' "$work/ca/index.txt" "$work/ca/serial" "$work/ca"
    printf 'policy=p\nunique_subject=no\ncopy_extensions=none\nemail_in_dn=no\n[p]\ncommonName=optional\n[e]\n%b\n' "$extensions"
  } >"$work/config"
  openssl req -new -utf8 -key "$key" -subj "$subject" -out "$work/request"
  local by=(-cert "$issuer.pem" -keyfile "$work/$issuer.key")
  if [ "$issuer" = self ]; then by=(-selfsign -keyfile "$key"); fi
  openssl ca -batch -notext -config "$work/config" -in "$work/request" -extensions e -md "$digest" \
    -startdate "$from" -enddate "$to" "${by[@]}" -out "$name.pem" 2>"$work/said" || { cat "$work/said"; exit 1; }
}

authority='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign'
usage='basicConstraints=CA:FALSE\nkeyUsage=critical,keyEncipherment\nextendedKeyUsage=serverAuth'
leaf="$usage\nsubjectAltName=DNS:db.example,DNS:*.cluster.example,IP:10.0.0.1,IP:2001:db8::1"

# Roots of three algorithms, and another authority.
rsa root; sign root '/CN=Test Root' "$work/root.key" self "$authority" $first $last sha256
ec root-ec; sign root-ec '/CN=Test Root EC' "$work/root-ec.key" self "$authority" $first $last sha256
ed25519 root-ed25519; sign root-ed25519 '/CN=Test Root Ed25519' "$work/root-ed25519.key" self "$authority"
rsa other-root; sign other-root '/CN=Other Root' "$work/other-root.key" self "$authority" $first $last sha256
# Another authority that has the name of the first.
rsa impostor; sign impostor '/CN=Test Root' "$work/impostor.key" self "$authority" $first $last sha256

# Servers, by the root itself.
sign good '/CN=db.example' $server root "$leaf"
sign by-ec '/CN=db.example' $server root-ec "$leaf" $first $last sha256
sign by-ed25519 '/CN=db.example' $server root-ed25519 "$leaf"
sign by-other '/CN=db.example' $server other-root "$leaf"
sign by-impostor '/CN=db.example' $server impostor "$leaf"
sign without-usages '/CN=db.example' $server root 'subjectAltName=DNS:db.example'
sign expired '/CN=db.example' $server root "$leaf" $first 20201231235959Z
sign future '/CN=db.example' $server root "$leaf" 20900101000000Z $last
sign no-names '/CN=db.example' $server root "$usage"
sign client-only '/CN=db.example' $server root 'extendedKeyUsage=clientAuth\nsubjectAltName=DNS:db.example'
sign signs-only '/CN=db.example' $server root 'keyUsage=critical,digitalSignature\nsubjectAltName=DNS:db.example'
sign authority '/CN=db.example' $server root "$authority\nsubjectAltName=DNS:db.example"
sign critical '/CN=db.example' $server root "$leaf\n1.2.3.4=critical,DER:0500"
sign sha1 '/CN=db.example' $server root "$leaf" $first $last sha1
sign other-key '/CN=db.example' ../keys/other2048.pem root "$leaf"
ec ec; sign ec '/CN=db.example' "$work/ec.key" root "$leaf"
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out "$work/small.key"
sign small '/CN=db.example' "$work/small.key" root "$leaf"
# Text that a terminal would act on, and that reads in another order.
sign escapes $'/CN=db\e[31m\u202e.example' $server root "$leaf" $first 20201231235959Z

# Self-signed ones.
sign self '/CN=db.example' $server self "$leaf"
sign self-authority '/CN=db.example' $server self "$authority\nsubjectAltName=DNS:db.example"
sign self-expired '/CN=db.example' $server self "$leaf" $first 20201231235959Z

# With authorities in between.
rsa middle; sign middle '/CN=Test Middle' "$work/middle.key" root "$authority"
sign by-middle '/CN=db.example' $server middle "$leaf"
sign middle-expired '/CN=Test Middle' "$work/middle.key" root "$authority" $first 20251231235959Z
rsa no-authority; sign no-authority '/CN=No Authority' "$work/no-authority.key" root 'basicConstraints=CA:FALSE'
sign by-no-authority '/CN=db.example' $server no-authority "$leaf"
rsa path0; sign path0 '/CN=Path 0' "$work/path0.key" root "${authority/CA:TRUE/CA:TRUE,pathlen:0}"
sign by-path0 '/CN=db.example' $server path0 "$leaf"
rsa under-path0; sign under-path0 '/CN=Under Path 0' "$work/under-path0.key" path0 "$authority"
sign by-under-path0 '/CN=db.example' $server under-path0 "$leaf"
rsa constrained
sign constrained '/CN=Constrained' "$work/constrained.key" root "$authority\nnameConstraints=critical,permitted;DNS:inside.example"
sign inside '/CN=a.inside.example' $server constrained "$usage\nsubjectAltName=DNS:a.inside.example"
sign outside '/CN=db.example' $server constrained "$leaf"
sign inside-and-outside '/CN=db.example' $server constrained "$usage\nsubjectAltName=DNS:a.inside.example,DNS:db.example"
rsa clients; sign clients '/CN=Clients' "$work/clients.key" root "$authority\nextendedKeyUsage=clientAuth"
sign by-clients '/CN=db.example' $server clients "$leaf"

# A chain of 50, the server's first, in one file. Its authorities share a key.
rsa long
for place in $(seq 50 -1 2); do cp "$work/long.key" "$work/long-$place.key"; done
sign long-50 '/CN=Long 50' "$work/long.key" root "$authority"
for place in $(seq 49 -1 2); do
  sign "long-$place" "/CN=Long $place" "$work/long.key" "long-$((place + 1))" "$authority"
done
sign long-1 '/CN=db.example' $server long-2 "$leaf"
for place in $(seq 1 50); do cat "long-$place.pem"; done >"$work/chain-of-50"
rm -- long-*.pem
mv "$work/chain-of-50" chain-of-50.pem
