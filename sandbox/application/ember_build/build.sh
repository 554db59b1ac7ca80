# Writes an app as lookit-api's builder lays it out: an index.html and fingerprinted assets.
set -eu
out=$STUDY_OUTPUT_DIR
/bin/busybox mkdir -p "$out/assets"
echo "console.log('$STUDY')" > "$out/assets/app-0123456789abcdef0123456789abcdef.js"
echo "<script src=\"assets/app-0123456789abcdef0123456789abcdef.js\"></script>" > "$out/index.html"
/bin/busybox chmod -R a+rwX "$out"
echo "built $STUDY"
