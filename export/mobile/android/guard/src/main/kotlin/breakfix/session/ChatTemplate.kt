package breakfix.session

import breakfix.guard.Fields
import breakfix.guard.JsonError
import breakfix.guard.replaceSurrogates
import breakfix.guard.trimmed

/**
 * From a conversation to the text that the model reads, by `chat.json`, which was proven equal to the chat template.
 *
 * Special tokens inside a message are not markup but text somebody typed; a space takes their place, so that nobody can close
 * a turn and open another one from inside a message. It knows no tokenizer.
 */
class ChatTemplate(chat: Fields) {
    private val bare = chat.text("bare")
    private val turns = mapOf(
        Role.SYSTEM to if (chat.has("system")) turn(chat, "system") else null,
        Role.USER to turn(chat, "user"),
        Role.ASSISTANT to turn(chat, "assistant"),
    )
    private val answer = chat.text("answer")
    private val trims = chat.has("trim") && chat.flag("trim")
    private val specials = chat.texts("specials").filter { it != "" }

    /** Tokens that end an answer. */
    val ends: Set<Int> = chat.ints("ends").toSet()

    /** The most tokens of prompt and answer together. */
    val context: Int = chat.int("context")

    init {
        if (chat.int("format") != FORMAT) throw JsonError("chat.json is of another version; make the bundle again")
        if (context < 1 || ends.isEmpty()) throw JsonError("chat.json names no end or no context; make the bundle again")
    }

    /** Return the text that the model reads, ready for its answer. Throws EngineError for a turn that the template has not. */
    fun render(conversation: List<Message>): String {
        val opening = if (conversation.firstOrNull()?.role == Role.SYSTEM) "" else bare
        return opening + conversation.joinToString("", transform = ::written) + answer
    }

    private fun written(message: Message): String {
        val (before, after) = turns[message.role] ?: throw EngineError("the model has no turn for instructions; give none")
        val text = clean(message.text)
        return before + (if (trims) trimmed(text) else text) + after
    }

    private fun clean(text: String): String {
        var cleaned = replaceSurrogates(text)
        do {
            val last = cleaned
            for (special in specials) cleaned = cleaned.replace(special, " ")
        } while (cleaned != last)
        return cleaned
    }

    companion object {
        private const val FORMAT = 1

        private fun turn(chat: Fields, name: String): Pair<String, String> {
            val parts = chat.texts(name)
            if (parts.size != 2) throw JsonError("chat.json.$name has not two parts; make the bundle again")
            return parts[0] to parts[1]
        }
    }
}
