# Flattens one JSON document to lines "path<TAB>value"; strings stay escaped, so a value never spans lines.
function skip() { sub(/^[ \t\r\n]+/, "", s) }
function take(n,    head) { head = substr(s, 1, n); s = substr(s, n + 1); return head }
function text(    whole) {
  if (!match(s, /^"([^"\\]|\\.)*"/)) exit 1
  whole = take(RLENGTH)
  return substr(whole, 2, length(whole) - 2)
}
function value(path,    key, index_) {
  skip()
  if (s ~ /^[{]/) {
    take(1); skip()
    while (s !~ /^[}]/) {
      key = text(); skip(); take(1); value(path "/" key); skip()
      if (s ~ /^,/) { take(1); skip() }
    }
    take(1)
  } else if (s ~ /^[[]/) {
    take(1); skip(); index_ = 0
    while (s !~ /^[]]/) {
      value(path "/" index_++); skip()
      if (s ~ /^,/) { take(1); skip() }
      if (s == "") exit 1
    }
    take(1)
  } else if (s ~ /^"/) {
    print path "\t" text()
  } else {
    if (!match(s, /^[-+.a-zA-Z0-9]+/)) exit 1
    print path "\t" take(RLENGTH)
  }
}
BEGIN { RS = "\001" }
{ s = $0; value("") }
