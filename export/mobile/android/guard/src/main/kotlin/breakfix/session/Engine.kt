package breakfix.session

/**
 * What it takes to be an engine, and the engine that needs no model.
 *
 * An engine turns conversations into text. It knows nothing of guards or screens.
 */
interface Engine {
    /**
     * Give one answer piece by piece, until [take] wants no more; the pieces joined are the answer.
     * Throws ConversationTooLong before the first piece, EngineError where it cannot go on.
     */
    fun stream(conversation: List<Message>, sampling: Sampling, take: (String) -> Boolean)
}

enum class Role { SYSTEM, USER, ASSISTANT }

/** One turn of a conversation. */
data class Message(val role: Role, val text: String)

/** How to pick the next token. */
data class Sampling(
    /** The longest answer, in tokens. */
    val mostTokens: Int = 512,
    /** 0 is greedy and deterministic. */
    val temperature: Double = 0.0,
    /** Nucleus; unused when greedy. */
    val topP: Double = 0.95,
    /** Seed of the sampler; unused when greedy. */
    val seed: Int = 0,
)

/** An engine that cannot answer. */
open class EngineError(message: String, cause: Throwable? = null) : Exception(message, cause)

/** A conversation leaves no room for an answer; thrown before the answer's first piece. */
class ConversationTooLong(message: String) : EngineError(message)

/** An engine for tests and demos: answers come from a function, streamed word by word. */
class ScriptedEngine(private val answer: (List<Message>) -> String) : Engine {
    /** Every conversation that this engine saw, oldest first. */
    val asked = ArrayList<List<Message>>()

    override fun stream(conversation: List<Message>, sampling: Sampling, take: (String) -> Boolean) {
        asked.add(conversation.toList())
        answer(conversation).split(" ").take(sampling.mostTokens).forEachIndexed { at, word ->
            if (!take(if (at == 0) word else " $word")) return
        }
    }
}
