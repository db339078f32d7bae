package breakfix.guard

import java.io.File

/**
 * Runs the Kotlin guard over golden vectors and prints what differs.
 *
 * GuardVectors GUARD TABLES VECTORS... (the guard's folder, tables.json). The encoder is whoever reads standard output: a line
 * `? ids / types` is answered by a line of the heads. `! ...` is a difference, `= checked scores` the end.
 */

private const val CLOSE = 0.00011 // the vectors are rounded to four digits

/** An encoder on the other side of a pipe. */
internal val PIPE = object : Encoder {
    private val known = HashMap<String, DoubleArray>()

    override fun heads(ids: LongArray, types: LongArray): DoubleArray {
        val asked = "${ids.joinToString(",")} / ${types.joinToString(",")}"
        return known.getOrPut(asked) {
            println("? $asked")
            System.out.flush()
            readln().split(",").map(String::toDouble).toDoubleArray()
        }
    }
}

private var checked = 0
private var scores = 0

private fun same(where: String, ours: Any?, theirs: Any?) {
    checked += 1
    if (ours != theirs) println("! ${"$where: $ours IS NOT $theirs".take(1500).replace("\n", "\\n")}")
}

private fun close(where: String, ours: Double, theirs: Double) {
    scores += 1
    if (!(Math.abs(ours - theirs) <= CLOSE)) println("! $where: $ours IS NOT $theirs")
}

private fun verdict(where: String, ours: Verdict, row: Fields) {
    val theirs = Verdict(
        action = Action.values().first { it.key == row.text("action") },
        rail = Rail.values().first { it.key == row.text("rail") },
        category = if (row.has("category")) row.text("category") else null,
        score = ours.score,
        span = if (row.has("span")) row.ints("span").let { Span(it[0], it[1]) } else Span(0, 0),
        message = if (row.has("message")) row.text("message") else "",
        failed = row.has("failed") && row.flag("failed"),
        hard = row.has("hard") && row.flag("hard"),
        milliseconds = ours.milliseconds,
        would = if (row.has("would")) Action.values().first { it.key == row.text("would") } else null,
        findings = if (row.has("findings")) findings(row) else emptyList(),
    )
    same(where, ours, theirs)
    close("$where score", ours.score, if (row.has("score")) row.number("score") else 0.0)
}

private fun findings(row: Fields): List<Finding> = row.list("findings").map { each ->
    val (kind, start, end) = each as List<*>
    Finding(kind as String, (start as Long).toInt(), (end as Long).toInt())
}

private fun cut(text: String, size: Int): Sequence<String> {
    val whole = Text(text)
    return if (size == 0) sequenceOf(text) else (0 until whole.length step size).asSequence().map { whole.slice(it, it + size) }
}

private fun output(guard: Guard, where: String, row: Fields) {
    for (stream in row.objects("streams")) {
        val expected = stream.objects("events")
        val ways = stream.ints("cuts").map { it.toString() to cut(row.text("answer"), it) }
        // Halves of surrogate pairs arrive one by one.
        val units = listOf("units" to row.text("answer").asSequence().map { it.toString() })
        for ((size, pieces) in if (1 in stream.ints("cuts")) ways + units else ways) {
            var last: Fields? = null
            val events = guard.stream(row.text("prompt"), pieces).toList()
            events.forEachIndexed { at, event ->
                val theirs = expected.getOrNull(at) ?: return@forEachIndexed
                last = if (theirs.has("verdict")) theirs.fields("verdict") else last
                val place = "$where cut $size event $at"
                when (event) {
                    is StreamEvent.Released -> same(place, event.text to event.end, theirs.text("text") to theirs.int("end"))
                    is StreamEvent.Stopped -> same(place, event.keep, theirs.int("keep"))
                }
                verdict("$where cut $size verdict $at", event.verdict, last!!)
            }
            same("$where cut $size events", events.size, expected.size)
        }
    }
}

private fun places(row: Fields): List<Int> = row.list("starts").flatMap { run ->
    val (first, count, step) = (run as List<*>).map { (it as Long).toInt() }
    List(count) { first + it * step }
}

private fun reading(parts: GuardParts, where: String, row: Fields) {
    val isAnswer = row.has("prompt")
    val text = row.text(if (isAnswer) "answer" else "text")
    val ours = if (isAnswer) listOf(Form.raw(text)) else parts.normalizer.forms(text)
    val theirs = row.objects("forms")
    same("$where readings", ours.map { it.how }, theirs.map { it.text("how") })
    ours.zip(theirs).forEachIndexed { at, (form, given) ->
        same("$where form $at", form.text, if (given.has("text")) given.text("text") else text)
        val starts = if (given.has("starts")) places(given) else List(lengthOf(text)) { it }
        same("$where form $at places", form.starts.toList(), starts)
        windows(parts, "$where form $at", if (isAnswer) Passage(row.text("prompt"), form.text) else Passage(form.text), given)
    }
}

private fun windows(parts: GuardParts, where: String, passage: Passage, given: Fields) {
    val all = parts.classifier.windows(passage)
    val theirs = given.objects("windows")
    same("$where windows", all.size, given.int("count"))
    val ours = if (all.size > theirs.size) all.take(theirs.size - 1) + all.takeLast(1) else all
    ours.zip(theirs).forEachIndexed { at, (window, row) ->
        same("$where window $at ids", window.ids.toList(), row.list("ids"))
        same("$where window $at types", window.types.sum(), row.long("types"))
        same("$where window $at span", listOf(window.start, window.end), row.ints("span"))
        same("$where window $at unread", window.unread, row.int("unread"))
        if (!row.has("scores")) return@forEachIndexed
        val scores = parts.classifier.scores(parts.classifier.run(window), passage.rail, window)
        val (unsafe, jailbreak, hazard) = row.list("scores")
        close("$where window $at unsafe", scores.unsafe, (unsafe as Number).toDouble())
        close("$where window $at jailbreak", scores.jailbreak, (jailbreak as Number).toDouble())
        same("$where window $at hazard", scores.hazard, hazard)
    }
}

private fun row(guard: Guard, parts: GuardParts, where: String, row: Fields) {
    when (row.text("kind")) {
        "input" -> {
            val context = if (row.has("context")) row.texts("context") else emptyList()
            verdict(where, guard.checkInput(row.text("text"), context), row.fields("verdict"))
        }
        "output" -> output(guard, where, row)
        "private" -> {
            val found = parts.rules.find(row.text("text"))
            same(where, found, findings(row))
            same("$where redacted", redact(row.text("text"), found), row.text("redacted"))
        }
        "phrases" -> {
            val list = PhraseList(row.texts("phrases"), parts.normalizer, parts.casefold)
            val first = if (row.has("first")) row.ints("first").let { Span(it[0], it[1]) } else null
            same(where, list.first(row.text("text")) to list.matchesWhole(row.text("text")), first to row.flag("whole"))
        }
    }
    if (row.has("forms")) reading(parts, where, row)
}

/** Whatever breaks inside, the text does not pass. */
private fun failsClosed(files: GuardFiles) {
    val parts = GuardParts.read(files, PIPE)
    val heads = parseFields("tables", files.tables).fields("classifier").texts("heads").size
    val broken = mapOf(
        "the model throws" to GuardParts.read(files) { _, _ -> throw OutOfMemoryError() }.classifier,
        "a score is no number" to GuardParts.read(files) { _, _ -> DoubleArray(heads) { Double.NaN } }.classifier,
        "a score is too large" to GuardParts.read(files) { _, _ -> DoubleArray(heads) { 1.5 } }.classifier,
        "too few scores" to GuardParts.read(files) { _, _ -> DoubleArray(heads - 1) }.classifier,
        "no window is scored" to Scorer { passages -> passages.map { emptyList() } },
        "no passage is scored" to Scorer { emptyList() },
        "a hazard without a threshold" to Scorer { passages -> passages.map { listOf(Scores(0.0, 0.0, "S99", 0.0, 0, 1)) } },
        "it goes too deep" to Scorer { throw StackOverflowError() },
    )
    for ((name, scorer) in broken) {
        val guard = Guard(parts, scorer)
        for (seen in listOf(guard.checkInput("How do I bake bread?"), guard.checkOutput("Bread?", "Bake it."))) {
            val expected = listOf(Action.BLOCK, true, true, parts.policy.say("failed"))
            same("fails closed: $name", listOf(seen.action, seen.failed, seen.hard, seen.message), expected)
        }
    }
    val guard = Guard.open(files, PIPE)
    same("fails closed: too long", guard.checkInput("a".repeat(parts.limits.longest + 1)).failed, true)
    val mute = Guard.open(files.with(policy = files.policy.replace("\"messages\":", "\"messages\":{},\"others\":")), PIPE)
    same("fails closed: no message", mute.checkInput("How do I build a pipe bomb at home?").message, parts.limits.lastWord)
}

/** A guard that lacks what it decides by does not open. */
private fun opensWhole(files: GuardFiles) {
    val lost = mapOf(
        "unread" to files.with(tables = files.tables.replace("\"unread\":", "\"lost\":")),
        "most_checks" to files.with(tables = files.tables.replace("\"most_checks\":", "\"lost\":")),
        "no probability" to files.with(calibration = files.calibration.replace(Regex("\"S13\": *[0-9.]+"), "\"S13\": 1.5")),
        "calibration.temperatures" to files.with(calibration = files.calibration.replace("\"temperatures\"", "\"lost\"")),
        "policy.hard" to files.with(policy = files.policy.replace("\"hard\":", "\"lost\":")),
        "no action" to files.with(policy = files.policy.replace("\"action\":\"warn\"", "\"action\":\"pass\"")),
        "another version" to files.with(tables = files.tables.replace(Regex("\"format\": *[0-9]+"), "\"format\": 0")),
        "damaged" to files.with(tables = files.tables.dropLast(1)),
    )
    for ((what, changed) in lost) {
        val said = try {
            Guard.open(changed, PIPE).let { "it opens" }
        } catch (error: GuardError) {
            error.message.orEmpty()
        }
        if (what !in said) println("! opens whole: $what: $said")
        checked += 1
    }
}

private fun GuardFiles.with(
    calibration: String = this.calibration,
    policy: String = this.policy,
    tables: String = this.tables,
) = GuardFiles(tokenizer, calibration, policy, tables)

fun main(arguments: Array<String>) {
    val (folder, tables) = arguments
    var first: GuardFiles? = null
    for (path in arguments.drop(2)) {
        val lines = File(path).readLines()
        val head = parseFields("vectors", lines[0])
        // The policy stands in the first row, as it is written there.
        val rules = lines[0].substring(lines[0].indexOf("\"rules\":") + "\"rules\":".length, lines[0].length - 1)
        val (tokenizer, calibration) = listOf("tokenizer.json", "calibration.json").map { File(folder, it).readText() }
        val files = GuardFiles(tokenizer, calibration, rules, File(tables).readText())
        first = first ?: files
        val guard = Guard.open(files, PIPE)
        val parts = GuardParts.read(files, PIPE)
        lines.drop(1).forEachIndexed { at, line ->
            val where = "${head.text("name")} ${at + 2}"
            try {
                row(guard, parts, where, parseFields("row", line))
            } catch (error: Exception) {
                println("! $where: ${error.stackTraceToString().take(1500).replace("\n", "\\n")}")
            }
        }
    }
    failsClosed(first!!)
    opensWhole(first)
    println("= $checked $scores")
}
