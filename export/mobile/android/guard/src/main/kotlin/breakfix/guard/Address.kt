package breakfix.guard

/** Tells whether a text is an IPv6 address, by RFC 4291 as Python's `ipaddress` reads it. Knows nothing of scopes. */

private const val PARTS = 8

internal fun isIPv6(address: String): Boolean {
    val parts = address.split(":").toMutableList()
    if (parts.size < 3) return false
    if ('.' in parts.last()) {
        if (!isIPv4(parts.removeAt(parts.size - 1))) return false
        parts.add("0")
        parts.add("0")
    }
    if (parts.size > PARTS + 1) return false
    val gaps = (1 until parts.size - 1).filter { parts[it] == "" }
    return when (gaps.size) {
        0 -> parts.size == PARTS && parts.all(::isGroup)
        1 -> hasGap(parts, gaps[0])
        else -> false
    }
}

/** Tell whether parts with a `::` at the place [gap] are an address. */
private fun hasGap(parts: List<String>, gap: Int): Boolean {
    var before = gap
    var after = parts.size - gap - 1
    if (parts.first() == "") {
        before -= 1
        if (before > 0) return false // it begins with one colon
    }
    if (parts.last() == "") {
        after -= 1
        if (after > 0) return false // it ends with one colon
    }
    if (before + after >= PARTS) return false
    val from = if (parts.first() == "") 1 else 0
    return parts.subList(minOf(from, gap), gap).all(::isGroup) && parts.subList(parts.size - after, parts.size).all(::isGroup)
}

private fun isGroup(part: String): Boolean =
    part.length in 1..4 && part.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }

private fun isIPv4(address: String): Boolean {
    val octets = address.split(".")
    return octets.size == 4 && octets.all(::isOctet)
}

private fun isOctet(octet: String): Boolean =
    octet.length in 1..3 && octet.all { it in '0'..'9' } && (octet == "0" || octet[0] != '0') && octet.toInt() < 256
