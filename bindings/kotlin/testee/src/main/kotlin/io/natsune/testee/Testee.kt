package io.natsune.testee

import io.natsune.Client
import io.natsune.NatsException
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.launch
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonObject
import java.util.concurrent.ConcurrentHashMap
import kotlin.system.exitProcess

/** The Kotlin testee: does through the public package what the runner says, one JSON line in, one out. */
class Testee {
    val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val objects = ConcurrentHashMap<String, Any>()
    private val tasks = ConcurrentHashMap<Long, Job>()
    private val out = System.out
    private val operations = Operations(this)

    fun keep(
        name: String?,
        made: Any,
    ) {
        if (name != null) objects[name] = made
    }

    inline fun <reified T : Any> find(name: String?): T = any(name) as? T ?: throw Foreign("$name is no ${T::class.simpleName}")

    fun any(name: String?): Any = objects[name.orEmpty()] ?: throw Foreign("no object is called $name")

    fun anyClient(): Client = objects.values.firstNotNullOfOrNull { (it as? Connected)?.client } ?: throw Foreign("there is no client")

    fun say(line: JsonObject) {
        synchronized(out) {
            out.println(line)
            out.flush()
        }
    }

    private fun answer(
        number: JsonElement,
        name: String,
        value: JsonElement,
    ) = say(JsonObject(mapOf("n" to number, name to value)))

    fun start(line: String) {
        val request = Args(Json.parseToJsonElement(line).jsonObject)
        val number = request.long("n") ?: return
        tasks[number] =
            scope.launch {
                try {
                    answer(JsonPrimitive(number), "ok", perform(request))
                } catch (failure: Throwable) {
                    answer(JsonPrimitive(number), "err", failed(failure))
                }
                tasks.remove(number)
            }
    }

    private suspend fun perform(request: Args): JsonObject {
        val op = request.needed("op")
        val args = request.fields("args")
        when (op) {
            "drop" -> {
                objects.remove(request.text("on").orEmpty())
                // Cleaners run after a collection; a few, because references are enqueued by a thread of their own.
                repeat(3) { System.gc() }
            }
            "cancel" -> tasks[args.long("target")]?.cancel()
            else -> return operations.run(op, request.text("as"), request.text("on"), args)
        }
        return JsonObject(emptyMap())
    }

    private fun failed(failure: Throwable): JsonObject =
        when (failure) {
            is NatsException ->
                json(
                    "code" to failure.code.word,
                    "message" to failure.message,
                    "retryable" to failure.retryable,
                    "applied" to failure.applied.toString(),
                    "detail" to failure.detail,
                )
            is CancellationException -> json("code" to "cancelled", "message" to "")
            else -> json("code" to "foreign", "message" to "${failure::class.simpleName}: ${failure.message}")
        }
}

/** A mistake of the runner's, not of the package. */
class Foreign(
    message: String,
) : Exception(message)

fun main() {
    val testee = Testee()
    testee.say(json("hello" to mapOf("language" to "kotlin", "version" to "0.1.0")))
    while (true) {
        testee.start(readlnOrNull() ?: exitProcess(0))
    }
}
