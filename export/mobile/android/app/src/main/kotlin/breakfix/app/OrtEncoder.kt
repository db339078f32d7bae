package breakfix.app

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import breakfix.guard.Encoder
import java.io.File
import java.nio.LongBuffer

/** The guard's int8 encoder on ONNX Runtime's CPU kernels, one thread. What it throws, the guard takes for a refusal. */
class OrtEncoder(file: File) : Encoder, AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = OrtSession.SessionOptions().use { options ->
        options.setIntraOpNumThreads(1)
        environment.createSession(file.path, options)
    }

    override fun heads(ids: LongArray, types: LongArray): DoubleArray = tensor(ids).use { tokens ->
        tensor(types).use { kinds ->
            session.run(mapOf("input_ids" to tokens, "token_type_ids" to kinds)).use { outputs ->
                val row = (outputs.get(0).value as Array<*>).single() as FloatArray
                DoubleArray(row.size) { row[it].toDouble() }
            }
        }
    }

    private fun tensor(row: LongArray): OnnxTensor =
        OnnxTensor.createTensor(environment, LongBuffer.wrap(row), longArrayOf(1, row.size.toLong()))

    override fun close() = session.close()
}
