package breakfix.app

import ai.onnxruntime.genai.GenAIException
import ai.onnxruntime.genai.Generator
import ai.onnxruntime.genai.GeneratorParams
import ai.onnxruntime.genai.Model
import ai.onnxruntime.genai.Tokenizer
import breakfix.session.ChatTemplate
import breakfix.session.ConversationTooLong
import breakfix.session.Engine
import breakfix.session.EngineError
import breakfix.session.Message
import breakfix.session.Sampling
import java.io.File

/** The int4 model on onnxruntime-genai. It knows no guard. Throws EngineError where the model cannot be opened. */
class GenAiEngine(folder: File, private val template: ChatTemplate) : Engine, AutoCloseable {
    private val model = inASentence { Model(folder.path) }
    private val tokenizer = inASentence { Tokenizer(model) }

    override fun stream(conversation: List<Message>, sampling: Sampling, take: (String) -> Boolean) = inASentence {
        val prompt = tokenizer.encode(template.render(conversation)).use { it.getSequence(0) }
        val room = template.context - prompt.size
        if (room < minOf(ROOM, sampling.mostTokens)) {
            throw ConversationTooLong("the conversation has ${prompt.size} tokens of ${template.context}; shorten it")
        }
        parameters(prompt.size + minOf(room, sampling.mostTokens), sampling).use { parameters ->
            Generator(model, parameters).use { generator ->
                generator.appendTokens(prompt)
                write(generator, take)
            }
        }
    }

    /** Write until the answer ends or nobody wants more; a token may end inside a character, which the stream keeps back. */
    private fun write(generator: Generator, take: (String) -> Boolean) = tokenizer.createStream().use { text ->
        while (!generator.isDone) {
            generator.generateNextToken()
            val token = generator.getLastTokenInSequence(0)
            if (token in template.ends) break
            val piece = text.decode(token)
            if (piece != "" && !take(piece)) break
        }
    }

    /** Return parameters with a cache for so many tokens: by itself genai makes one for the whole context. */
    private fun parameters(most: Int, sampling: Sampling): GeneratorParams = GeneratorParams(model).apply {
        setSearchOption("max_length", most.toDouble())
        setSearchOption("do_sample", sampling.temperature > 0)
        if (sampling.temperature > 0) {
            setSearchOption("temperature", sampling.temperature)
            setSearchOption("top_p", sampling.topP)
            setSearchOption("top_k", 0.0)
            setSearchOption("random_seed", sampling.seed.toDouble())
        }
    }

    override fun close() {
        tokenizer.close()
        model.close()
    }

    private companion object {
        /** With less room than this an answer is not begun; older turns are forgotten for it. */
        const val ROOM = 192

        fun <T> inASentence(act: () -> T): T = try {
            act()
        } catch (error: GenAIException) {
            throw EngineError("the model cannot answer (${error.message}); free some memory or start the app again", error)
        }
    }
}
