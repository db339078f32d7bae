package breakfix.guard

/**
 * Where the output rail looks at an answer, and how much of it: at sentence ends, and at gaps or words where none comes.
 *
 * It depends on the text alone, never on how the text arrives. All lengths are in UTF-8 bytes, all places in code points.
 * Knows no guard.
 */

/** A text that grows at its end, and may be forgotten from its beginning. */
internal class Growing {
    private var points = IntArray(1024)
    var length = 0
        private set

    fun add(piece: String) {
        forEachPoint(piece) {
            if (length == points.size) points = points.copyOf(2 * length)
            points[length++] = it
        }
    }

    operator fun get(place: Int): Int = points[place]

    fun slice(start: Int, end: Int = length): String = String(points, start, end - start)

    fun forget(count: Int) {
        points.copyInto(points, 0, count, length)
        length -= count
    }
}

internal class Checkpoints(tables: Fields) {
    private val least = tables.int("least")
    private val most = tables.int("most")
    private val longest = tables.int("longest")
    private val reach = tables.int("reach")
    private val run = tables.int("run")
    private val key = tables.int("key")
    private val group = tables.int("group")
    private val stops = pointsOf(tables.text("stops")).toSet()
    private val wideStops = pointsOf(tables.text("wide_stops")).toSet()
    private val wideGaps = pointsOf(tables.text("wide_gaps")).toSet()
    private val closers = pointsOf(tables.text("closers")).toSet()

    /** Characters before an excerpt or a check that are looked at to place it. */
    val lookback = tables.int("lookback")

    /** Return where the excerpt that ends at a place begins: within reach, and at a word if one begins soon. */
    fun excerptStart(text: Growing, place: Int): Int {
        val start = reach(text, place)
        if (start == 0) return 0
        return (start until minOf(start + SOON, place)).firstOrNull { isSpace(text[it - 1]) } ?: start
    }

    /** Return the earliest character that an excerpt which ends at a place may begin with. */
    fun reach(text: Growing, place: Int): Int {
        var start = place
        var left = reach
        while (start > 0 && left > 0) {
            start -= 1
            left -= sizeOf(text[start])
        }
        return start
    }

    /** Tell whether a sentence ends right before the character at a place. */
    fun endsSentence(text: Growing, at: Int): Boolean {
        var end = at
        while (at - end < lookback / 2 && end > 1 && text[end - 1] in closers) end -= 1
        if (text[at - 1] == '\n'.code || (text[end - 1] in stops && isSpace(text[at]))) return true
        return text[end - 1] in wideStops && text[at] !in closers
    }

    /** Tell whether a check comes before the character at a place, after so many bytes without one. */
    fun isPlace(text: Growing, at: Int, weight: Int): Boolean {
        if (weight < least) return false
        if (endsSentence(text, at)) return true
        if (weight >= most && (isSpace(text[at]) || text[at - 1] in wideGaps)) return true
        return weight >= longest && (weight >= 2 * longest || !isOneCharacter(text[at - 1], text[at]))
    }

    /**
     * Return up to where no personal data can grow or begin with what comes next; `inside`: the text ends inside a word.
     *
     * Numbers are written in groups, some of them of letters; an address is one word; a key may have many lines.
     */
    fun settled(string: String, found: List<Finding>, inside: Boolean): Int {
        val text = Text(string)
        val length = text.length
        var end = length
        var at = length
        for (word in wordsBefore(text, maxOf(0, length - run))) {
            if (!isBlank(text, word.end, at)) break
            if (word.value.any { it in '0'..'9' } || (inside && word.end == length)) {
                end = word.start
            } else if (word.end - word.start > group) {
                break
            }
            at = word.start
        }
        val grown = found.filter { it.start < end && isBlank(text, it.end, end) }
        end = minOf(end, grown.minOfOrNull { it.start } ?: end)
        val begin = string.lastIndexOf("-----BEGIN")
        if (begin >= 0 && "-----END" !in string.substring(begin)) end = minOf(end, lengthOf(string.take(begin)))
        return if (length - end < key) end else length
    }

    private companion object {
        const val SOON = 32
    }
}

/** Return the words of visible ASCII that begin at a place or after it, the last first. */
private fun wordsBefore(text: Text, first: Int): List<Match> {
    val tail = Text(text.slice(first))
    return tail.runs { it in 0x21..0x7e }.map { Match(text, first + it.start, first + it.end, IntArray(0)) }.asReversed()
}

private fun isBlank(text: Text, start: Int, end: Int): Boolean = (start until end).all { isSpace(text[it]) }

/** Tell whether two may be one on the screen: marks, joiners, skin tones, flags, halves of a surrogate pair. */
private fun isOneCharacter(before: Int, after: Int): Boolean {
    val flags = 0x1f1e6..0x1f1ff
    return (before in flags && after in flags) || after in 0x1f3fb..0x1f3ff || before == 0x200d || isJoined(after)
}

/** Finds the places to check at in a text that grows. */
internal class Scanner(private val checkpoints: Checkpoints) {
    /** How far the text was scanned. */
    var at = 0

    /** How many places were found. */
    var found = 0
        private set
    private var weight = 0

    /**
     * Return the next place, or null where the text has none yet; `final`: no more text comes, and its end is the last place.
     * Whether a place is one depends on the text up to the one character behind it. An empty text has one place.
     */
    fun next(text: Growing, final: Boolean): Int? {
        while (at + 1 < text.length) {
            weight += sizeOf(text[at])
            at += 1
            if (checkpoints.isPlace(text, at, weight)) return place(at)
        }
        return if (final && (at < text.length || weight > 0 || found == 0)) place(text.length) else null
    }

    private fun place(at: Int): Int {
        this.at = at
        weight = 0
        found += 1
        return at
    }
}
