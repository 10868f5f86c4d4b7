#!/bin/sh
# Makes the files beside it with the openssl command: every form in which a certificate and its key are exported.
# The keys are for tests only. Not run by the tests; run it again only to add a form.
set -eu
umask 022
cd "$(dirname "$0")"

cat > push.cnf <<'CNF'
[req]
distinguished_name = name
x509_extensions = push
prompt = no
[name]
UID = com.example.app
CN = Apple Push Services: com.example.app
OU = ABCDE12345
[push]
1.2.840.113635.100.6.3.1 = ASN1:NULL
1.2.840.113635.100.6.3.2 = ASN1:NULL
1.2.840.113635.100.6.3.6 = ASN1:SEQUENCE:topics
[topics]
t1 = UTF8:com.example.app
k1 = SEQUENCE:app
t2 = UTF8:com.example.app.voip
k2 = SEQUENCE:voip
t3 = UTF8:com.example.app.complication
k3 = SEQUENCE:complication
[app]
kind = UTF8:app
[voip]
kind = UTF8:voip
[complication]
kind = UTF8:complication
CNF

certify() { openssl req -x509 -new -config push.cnf -key "$1" -sha256 -days 36500; }

openssl genrsa -out key.tmp 2048
certify key.tmp > certificate.tmp
cat certificate.tmp key.tmp > rsa-pkcs8.pem
openssl rsa -in key.tmp -traditional | cat certificate.tmp - > rsa-pkcs1.pem
openssl rsa -in key.tmp -traditional -aes128 -passout pass:secret | cat certificate.tmp - > rsa-encrypted-pkcs1.pem
openssl pkcs8 -topk8 -in key.tmp -passout pass:secret | cat certificate.tmp - > rsa-encrypted-pkcs8.pem
openssl pkcs12 -export -in certificate.tmp -inkey key.tmp -passout pass: -out push.p12
openssl pkcs12 -in push.p12 -passin pass: -nodes -out openssl-pkcs12.pem
openssl x509 -in certificate.tmp -outform der -out push.cer
openssl req -new -config push.cnf -key key.tmp -out request.pem

openssl genrsa -out key.tmp 1024
certify key.tmp | cat - key.tmp > rsa-1024.pem

openssl ecparam -name prime256v1 -genkey -out key.tmp
certify key.tmp | cat - key.tmp > ec-sec1.pem
openssl pkcs8 -topk8 -nocrypt -in key.tmp -out signing-key.p8
rm key.tmp certificate.tmp push.cnf
