package breakfix.guard

import java.util.regex.Pattern

/**
 * JSON as RFC 8259 has it, and what an object holds, asked for by name and kind.
 *
 * A guard that lacks a number compares with nothing, and such a comparison lets a text pass: so what is missing is found out
 * while files are read, before anything is judged. Knows no file by name.
 */

private const val MOST_DEPTH = 64

/** A text is no JSON, or holds what it should not. */
class JsonError(message: String) : Exception(message)

/** Read a JSON text: maps, lists, strings, longs, doubles, booleans and null. Throws JsonError. */
fun parseJson(text: String): Any? = JsonParser(text).whole()

/** Read a JSON object; [path] names it in what is said of it. Throws JsonError. */
fun parseFields(path: String, text: String): Fields {
    val holds = try {
        parseJson(text)
    } catch (error: JsonError) {
        throw JsonError("$path is damaged (${error.message}); make the bundle again")
    }
    return Fields.of(path, holds)
}

/** What a JSON object holds. Whatever is missing, or of another kind than asked for, throws JsonError with its path. */
class Fields(private val path: String, private val values: Map<String, Any?>) {
    val names: Set<String> get() = values.keys

    fun has(name: String): Boolean = values[name] != null

    fun fields(name: String): Fields = of("$path.$name", values[name])

    fun text(name: String): String = values[name] as? String ?: missing(name)

    fun flag(name: String): Boolean = values[name] as? Boolean ?: missing(name)

    fun number(name: String): Double = (values[name] as? Number)?.toDouble() ?: missing(name)

    fun long(name: String): Long = values[name] as? Long ?: missing(name)

    fun int(name: String): Int = long(name).takeIf { it in Int.MIN_VALUE..Int.MAX_VALUE }?.toInt() ?: missing(name)

    fun list(name: String): List<Any?> = values[name] as? List<*> ?: missing(name)

    fun texts(name: String): List<String> = list(name).map { it as? String ?: missing(name) }

    fun ints(name: String): List<Int> = list(name).map { (it as? Long)?.toInt() ?: missing(name) }

    fun objects(name: String): List<Fields> = list(name).mapIndexed { at, each -> of("$path.$name[$at]", each) }

    /** Return an object whose values are all strings. */
    fun strings(name: String): Map<String, String> = fields(name).allStrings()

    fun allStrings(): Map<String, String> = values.mapValues { (key, value) -> value as? String ?: missing(key) }

    /** Return an object whose values are all numbers. */
    fun numbers(name: String): Map<String, Double> = fields(name).let { each -> each.names.associateWith(each::number) }

    private fun missing(name: String): Nothing = throw lacks("$path.$name")

    companion object {
        @Suppress("UNCHECKED_CAST") // the keys of what the parser makes are strings
        fun of(path: String, holds: Any?): Fields = Fields(path, holds as? Map<String, Any?> ?: throw lacks(path))

        private fun lacks(what: String) = JsonError("$what is missing or no value of its kind; make the bundle again")
    }
}

private class JsonParser(private val text: String) {
    private var at = 0
    private var depth = 0

    fun whole(): Any? {
        val value = value()
        skipSpace()
        return if (at == text.length) value else wrong()
    }

    private fun value(): Any? {
        skipSpace()
        return when (text.getOrNull(at)) {
            '{' -> deeper(::members)
            '[' -> deeper(::elements)
            '"' -> string()
            't' -> literal("true", true)
            'f' -> literal("false", false)
            'n' -> literal("null", null)
            else -> number()
        }
    }

    private fun <T> deeper(read: () -> T): T {
        depth += 1
        if (depth > MOST_DEPTH) wrong()
        at += 1
        return read().also { depth -= 1 }
    }

    private fun members(): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        if (takes('}')) return found
        do {
            skipSpace()
            val name = string()
            if (!takes(':')) wrong()
            found[name] = value()
        } while (takes(','))
        return if (takes('}')) found else wrong()
    }

    private fun elements(): List<Any?> {
        val found = ArrayList<Any?>()
        if (takes(']')) return found
        do found.add(value()) while (takes(','))
        return if (takes(']')) found else wrong()
    }

    private fun string(): String {
        if (text.getOrNull(at) != '"') wrong()
        at += 1
        val said = StringBuilder()
        while (true) {
            val char = text.getOrNull(at) ?: wrong()
            at += 1
            when {
                char == '"' -> return said.toString()
                char == '\\' -> said.append(escaped())
                char < ' ' -> wrong()
                else -> said.append(char)
            }
        }
    }

    private fun escaped(): Char {
        val char = text.getOrNull(at) ?: wrong()
        at += 1
        if (char == 'u') {
            val digits = text.substring(at, minOf(at + 4, text.length))
            if (digits.length < 4 || !digits.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }) wrong()
            at += 4
            return digits.toInt(16).toChar()
        }
        val place = "\"\\/bfnrt".indexOf(char)
        return if (place < 0) wrong() else "\"\\/\b\u000c\n\r\t"[place]
    }

    private fun number(): Number {
        val start = at
        while (at < text.length && (text[at] in '0'..'9' || text[at] in "+-.eE")) at += 1
        val digits = text.substring(start, at)
        if (!NUMBER.matcher(digits).matches()) wrong()
        return digits.toLongOrNull() ?: digits.toDouble()
    }

    private fun <T> literal(word: String, value: T): T {
        if (!text.startsWith(word, at)) wrong()
        at += word.length
        return value
    }

    private fun takes(char: Char): Boolean {
        skipSpace()
        if (text.getOrNull(at) != char) return false
        at += 1
        return true
    }

    private fun skipSpace() {
        while (at < text.length && text[at] in " \t\r\n") at += 1
    }

    private fun wrong(): Nothing = throw JsonError("no JSON at character $at")

    private companion object {
        val NUMBER: Pattern = Pattern.compile("-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+\\-]?[0-9]+)?")
    }
}
