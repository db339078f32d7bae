package breakfix.guard

/**
 * The guard: scores and a policy make a verdict. It fails closed: whatever goes wrong inside, the text does not pass.
 *
 * Only the policy's shadow mode lets a failure pass, because it is a trial run that changes nothing; the verdict still says
 * that the guard failed. It keeps no text and logs none. What it decides is specified in guardrails/SPEC.md.
 */

/** The version of the tables that this port reads. */
private const val FORMAT = 2

/** The files of a guard, as text: tokenizer.json, calibration.json, policy.json and tables.json. */
class GuardFiles(
    val tokenizer: String,
    val calibration: String,
    val policy: String,
    val tables: String,
    /** The language (as `de`) to say messages in where the policy has them in it; null for the policy's own. */
    val language: String? = null,
)

/** Checks the user's text before the model sees it, and the model's before the user does. Not for several threads at once. */
class Guard internal constructor(private val parts: GuardParts, private val scorer: Scorer) : Judge {
    override val policy = parts.policy
    private val harmless = PhraseList(policy.allow, parts.normalizer, parts.casefold)
    private val forbidden = PhraseList(policy.block, parts.normalizer, parts.casefold)

    /** Judge what a user wrote, alone and together with their last turns ([context], oldest first). */
    fun checkInput(text: String, context: List<String> = emptyList()): Verdict {
        val started = System.nanoTime()
        val seen = try {
            judgeInput(text, context)
        } catch (error: Throwable) {
            // Fail closed: no failure of any library may let a text through.
            refusal(Rail.INPUT, error)
        }
        return published(seen.copy(milliseconds = (System.nanoTime() - started) / 1e6))
    }

    /** Judge what a model answered to a prompt: the very checks of [stream], so their verdicts are the same. */
    fun checkOutput(prompt: String, answer: String): Verdict = stream(prompt, sequenceOf(answer)).last().verdict

    /** Return the rail that an answer to a prompt is fed to while a model writes it. */
    fun rail(prompt: String): OutputRail = OutputRail(this, parts, prompt)

    /**
     * Yield checked text while a model writes it, at least one event; after Stopped nothing comes and no further piece is
     * taken. What the pieces throw is thrown.
     */
    fun stream(prompt: String, pieces: Sequence<String>): Sequence<StreamEvent> = sequence {
        val rail = rail(prompt)
        for (piece in pieces) {
            yieldAll(rail.feed(piece))
            if (rail.over) return@sequence
        }
        yieldAll(rail.finish())
    }

    override fun judgeAnswer(prompt: String, excerpt: String): Verdict =
        worst(judge(Rail.OUTPUT, excerpt, Text(prompt).slice(0, parts.limits.prompt)))

    override fun judgePii(rail: Rail, findings: List<Finding>): Verdict {
        val action = policy.pii.action(rail)
        val message = if (action == Action.BLOCK) policy.say(policy.pii.message) else ""
        val span = Span(findings[0].start, findings[0].end)
        return Verdict(action, rail, PII, 1.0, span, message, hard = true, findings = findings)
    }

    /** Return the verdict of a guard that could not judge; a text that it cannot read is no failure of its own. */
    override fun refusal(rail: Rail, why: Throwable): Verdict {
        val unread = why is UnreadableText
        val message = words(if (unread) UNREAD else "failed")
        return Verdict(Action.BLOCK, rail, if (unread) UNREAD else null, message = message, failed = !unread, hard = true)
    }

    private fun words(name: String): String {
        for (known in listOf(name, "failed")) {
            try {
                return policy.say(known)
            } catch (_: GuardError) {
                // A policy made by hand may lack even this one.
            }
        }
        return parts.limits.lastWord
    }

    /** Return the verdict as it counts outside: in shadow mode everything passes, and the verdict says what would not. */
    override fun published(verdict: Verdict): Verdict {
        if (!policy.shadow || verdict.action == Action.ALLOW) return verdict
        return verdict.copy(action = Action.ALLOW, would = verdict.action, message = "")
    }

    private fun judgeInput(text: String, context: List<String>): Verdict {
        if (lengthOf(text) > parts.limits.longest) throw GuardError("the text is too long to be checked whole; send less")
        if (harmless.matchesWhole(text)) return Verdict(Action.ALLOW, Rail.INPUT)
        val found = ArrayList(judge(Rail.INPUT, text, null))
        if (context.isNotEmpty()) found += judgeJoined(text, context)
        val pii = if (policy.pii.action(Rail.INPUT) == Action.ALLOW) emptyList() else parts.rules.find(text)
        if (pii.isNotEmpty()) found.add(judgePii(Rail.INPUT, pii))
        return worst(found).copy(findings = pii)
    }

    /**
     * Judge the text as the end of what the user said before, where a request may be split over turns.
     *
     * Thresholds are calibrated on texts that stand alone; this second look must not add its own false alarms, and an earlier
     * turn that passed must not taint the next. So it counts only from the hard threshold on, and only where the new text takes
     * part. A split request, joined, is as plain as an unsplit one.
     */
    private fun judgeJoined(text: String, context: List<String>): List<Verdict> {
        val most = parts.limits.joined
        val last = context.takeLast(parts.limits.turns).map(::Text)
        val before = last.joinToString("") { "${it.slice(maxOf(it.length - most, 0))}\n" }
        val length = lengthOf(before)
        return judge(Rail.INPUT, before + Text(text).slice(0, most), null)
            .filter { it.blocked && it.hard && it.span.end > length }
            .map { it.copy(span = Span(maxOf(it.span.start - length, 0), it.span.end - length)) }
    }

    /** Return what the policy makes of every window of every spelling of a text; a prompt makes it an answer. */
    private fun judge(rail: Rail, text: String, prompt: String?): List<Verdict> {
        val forms = parts.normalizer.forms(text)
        val passages = forms.map { if (prompt == null) Passage(it.text) else Passage(prompt, it.text) }
        val scored = scorer.score(passages)
        val found = ArrayList<Verdict>()
        forms.forEachIndexed { at, form ->
            val windows = scored.getOrNull(at).orEmpty()
            if (windows.isEmpty()) throw GuardError("a spelling of the text was not judged")
            forbidden.first(form.text)?.let { found.add(weigh(rail, BLOCKLIST, 1.0, 0.0, form.span(it.start, it.end))) }
            for (window in windows) {
                val span = if (window.end > 0) form.span(window.start, window.end) else Span(0, lengthOf(text))
                found += judgeWindow(rail, window, span)
            }
        }
        return found
    }

    /**
     * Return what the policy makes of one window. That it refuses excuses nothing: a refusal score beside harm is what an
     * answer looks like that refuses first and complies after; a plain refusal is for the classifier to score as harmless.
     */
    private fun judgeWindow(rail: Rail, window: Scores, span: Span): List<Verdict> {
        // A score that is no number is no proof of harmlessness.
        if (!listOf(window.unsafe, window.jailbreak, window.refusal).all(::isProbability)) {
            throw GuardError("the classifier gave what is no probability; make the bundle again")
        }
        val calibrated = parts.calibration
        val harm = weigh(rail, window.hazard, window.unsafe, calibrated.threshold(rail, window.hazard), span)
        if (rail == Rail.OUTPUT) return listOf(harm) // an answer attacks no model
        val attack = weigh(rail, JAILBREAK, window.jailbreak, calibrated.threshold(rail, JAILBREAK), span)
        // What an allowed text scored is how harmful it is.
        return if (attack.action == Action.ALLOW) listOf(harm) else listOf(harm, attack)
    }

    private fun weigh(rail: Rail, category: String, score: Double, calibrated: Double, span: Span): Verdict {
        val rule = policy.of(category)
        val threshold = rule.threshold(rail) ?: calibrated
        if (!isProbability(threshold)) throw GuardError("a threshold is no probability; mend the policy")
        if (score < threshold || rule.action == Action.ALLOW) return Verdict(Action.ALLOW, rail, score = score, span = span)
        val hard = score >= threshold + policy.hard * (1 - threshold)
        val message = if (rule.action == Action.WARN) "" else policy.say(rule.message)
        return Verdict(rule.action, rail, category, score, span, message, hard = hard)
    }

    companion object {
        /** Open a guard from the files of a bundle. Throws GuardError when they do not hold all that it decides by. */
        fun open(files: GuardFiles, encoder: Encoder): Guard = GuardParts.read(files, encoder).let { Guard(it, it.classifier) }
    }
}

internal class GuardLimits(tables: Fields) {
    val longest = tables.int("longest")
    val turns = tables.int("turns")
    val joined = tables.int("joined")
    val prompt = tables.int("prompt")
    val lastWord = tables.text("last_word")
}

/** What a guard is put together from. */
internal class GuardParts private constructor(files: GuardFiles, encoder: Encoder) {
    private val tables = parseFields("tables", files.tables)

    init {
        if (tables.int("format") != FORMAT) throw JsonError("the guard's tables are of another version; make the bundle again")
    }

    val policy = Policy.of(parseFields("policy", files.policy), files.language)
    private val language = Language(tables.fields("language"))
    private val decoder = Decoder(tables.fields("decode"), tables.fields("ciphers"), language)
    val normalizer = Normalizer(tables.fields("normalize"), tables.fields("unicode").list("combining"), decoder)
    val casefold = tables.fields("unicode").strings("casefold")
    val rules = Rules(tables.fields("rules"))
    val checkpoints = Checkpoints(tables.fields("checkpoints"))
    val stream = StreamLimits(tables.fields("stream"))
    val limits = GuardLimits(tables.fields("guard"))
    val calibration: Calibration
    val classifier: Classifier

    init {
        val own = tables.fields("classifier")
        val categories = own.texts("heads").drop(own.int("own_heads")) + JAILBREAK
        calibration = Calibration(parseFields("calibration", files.calibration), policy, categories)
        val tokenizer = WordPieces(
            parseFields("tokenizer", files.tokenizer), own.fields("tokenizer"), tables.fields("unicode").fields("scripts"),
            own,
        ) { normalizer.plainForm(it).text }
        classifier = Classifier(encoder, tokenizer, calibration, own)
    }

    companion object {
        /** Read the files of a guard. Throws GuardError. */
        fun read(files: GuardFiles, encoder: Encoder): GuardParts = try {
            GuardParts(files, encoder)
        } catch (error: JsonError) {
            throw GuardError("the guard cannot be opened: ${error.message}", error)
        }
    }
}
