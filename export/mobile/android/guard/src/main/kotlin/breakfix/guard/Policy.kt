package breakfix.guard

/**
 * The policy: what to do about each category on each rail, what to tell the user; and the verdict it comes to.
 *
 * A policy is plain data, checked where the bundle was made. A message that it lacks is found out when it is needed, and then
 * the guard refuses.
 */

/** Which side is checked: the user's text or the model's. */
enum class Rail {
    INPUT,
    OUTPUT;

    /** The name in files. */
    val key: String = name.lowercase()
}

/** What to do with a text, by rank of what it means: to replace a text is to block it. */
enum class Action(val rank: Int) {
    ALLOW(0),
    /** It passes, and the caller is told. */
    WARN(1),
    /** It passes without the findings. */
    REDACT(2),
    REPLACE(3),
    BLOCK(3);

    val key: String = name.lowercase()
}

/** A place in a text that holds personal data or a credential: email, phone, card, iban, ip or key. */
data class Finding(val kind: String, val start: Int, val end: Int)

/** What the guard decided about one text. */
data class Verdict(
    val action: Action,
    val rail: Rail,
    /** S1 to S13, jailbreak, blocklist, pii or unread; null when allowed, or when the guard failed. */
    val category: String? = null,
    /** The probability behind the decision, 0 to 1. */
    val score: Double = 0.0,
    /** The characters (code points) of the text, as given, that this score was given to. */
    val span: Span = Span(0, 0),
    /** What the user reads instead of the text, when it does not pass. */
    val message: String = "",
    /** True when the guard could not judge and therefore blocked. */
    val failed: Boolean = false,
    /** True when the score reached the hard threshold, at which a stream stops at once. */
    val hard: Boolean = false,
    /** How long the check took; of an answer, all its checks together. */
    val milliseconds: Double = 0.0,
    /** In shadow mode what the action would have been, if not allow. */
    val would: Action? = null,
    /** Personal data in the text, where the policy asks for them. */
    val findings: List<Finding> = emptyList(),
) {
    /** True when the text must not pass. */
    val blocked: Boolean get() = action == Action.BLOCK || action == Action.REPLACE
}

/** What to do about one category; a threshold of the policy's own, if there is one, goes before the calibrated one. */
class CategoryRule(val action: Action, private val input: Double?, private val output: Double?, val message: String) {
    fun threshold(rail: Rail): Double? = if (rail == Rail.INPUT) input else output
}

/** What to do about personal data. */
class PiiRule(private val input: Action, private val output: Action, val message: String) {
    fun action(rail: Rail): Action = if (rail == Rail.INPUT) input else output
}

class Policy(
    val level: String,
    val hard: Double,
    val shadow: Boolean,
    private val language: String,
    val pii: PiiRule,
    val allow: List<String>,
    val block: List<String>,
    private val categories: Map<String, CategoryRule>,
    private val messages: Map<String, Map<String, String>>,
) {
    /** Return what to do about a category. A framing alone harms nobody: what it asks for is judged by itself. */
    fun of(category: String): CategoryRule = categories[category]
        ?: CategoryRule(if (category == JAILBREAK) Action.WARN else Action.BLOCK, null, null, "blocked")

    /** Return a message in the policy's language, or in English. Throws GuardError where there is neither. */
    fun say(name: String): String = messages[language]?.get(name)?.takeIf { it != "" }
        ?: messages[FALLBACK_LANGUAGE]?.get(name) ?: throw GuardError("the policy has no message $name; mend it")

    companion object {
        /** Read policy.json, to speak a language (as `de`) if it has messages in that. Throws JsonError. */
        fun of(rules: Fields, spoken: String?): Policy {
            val pii = rules.fields("pii")
            val categories = rules.fields("categories")
            val messages = rules.fields("messages")
            return Policy(
                level = rules.text("level"),
                hard = probability("policy.hard", rules.number("hard")),
                shadow = rules.flag("shadow"),
                language = spoken?.takeIf(messages::has) ?: rules.text("language"),
                pii = PiiRule(action(pii, "input", PII_ACTIONS), action(pii, "output", PII_ACTIONS), pii.text("message")),
                allow = rules.texts("allow"),
                block = rules.texts("block"),
                categories = categories.names.associateWith { rule(categories.fields(it)) },
                messages = messages.names.associateWith(messages::strings),
            )
        }

        private fun rule(rule: Fields) = CategoryRule(
            action(rule, "action", ACTIONS), threshold(rule, "input"), threshold(rule, "output"), rule.text("message"),
        )

        private fun threshold(rule: Fields, rail: String): Double? = if (rule.has(rail)) rule.number(rail) else null

        private fun action(rule: Fields, name: String, known: Set<Action>): Action = known.find { it.key == rule.text(name) }
            ?: throw JsonError("the policy asks for ${rule.text(name)}, which is no action; mend it")
    }
}

const val JAILBREAK = "jailbreak"
internal const val BLOCKLIST = "blocklist"
internal const val PII = "pii"
internal const val UNREAD = "unread"
private const val FALLBACK_LANGUAGE = "en"
private val ACTIONS = setOf(Action.ALLOW, Action.WARN, Action.REPLACE, Action.BLOCK)
private val PII_ACTIONS = setOf(Action.ALLOW, Action.WARN, Action.REDACT, Action.BLOCK)

/** The guard could not judge. */
open class GuardError(message: String, cause: Throwable? = null) : Exception(message, cause)

/** The text is in a script that the guard cannot read: no failure of its own. */
class UnreadableText : GuardError("the text is in a script that the guard cannot read")

/** Return the verdict that counts among several, the first of equals. Throws where there is none, for nobody has judged. */
internal fun worst(verdicts: List<Verdict>): Verdict {
    if (verdicts.isEmpty()) throw GuardError("nobody has judged the text")
    return verdicts.reduce { most, next -> if (GRAVITY.compare(next, most) > 0) next else most }
}

private val GRAVITY = compareBy<Verdict>({ it.action.rank }, { it.failed }, { it.hard }, { it.score })

/** Return a number that is a probability. Throws JsonError. */
internal fun probability(path: String, value: Double): Double =
    if (isProbability(value)) value else throw JsonError("the guard's $path is no probability; make the bundle again")

internal fun isProbability(value: Double): Boolean = value >= 0 && value <= 1
